"""`python -m graticule` is `graticule`."""

import sys

from graticule.cli import main

sys.exit(main())
