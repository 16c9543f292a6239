"""Settings that all tests share."""

import os

# Sums depend on the number of threads, and two test processes share two cores. Set before anything loads torch.
os.environ["OMP_NUM_THREADS"] = "1"

from jaxtyping import install_import_hook

# Checks the axes and types of every annotated function while the tests run.
install_import_hook("graticule", "typechecker.check")
