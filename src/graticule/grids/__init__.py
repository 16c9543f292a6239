"""Grids say where the pixels are; resampling exchanges one for another."""
