"""Graticule turns pictures of the Earth into maps: every prediction lives on a grid, and grids can be exchanged."""

__version__ = "0.1.0"
