"""Check the axes and types of every annotated function while the tests run."""

from jaxtyping import install_import_hook

install_import_hook("graticule", "typechecker.check")
