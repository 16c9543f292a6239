"""One file per published kind of data."""
