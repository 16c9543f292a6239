"""One file per verb of the command line, each read top to bottom."""
