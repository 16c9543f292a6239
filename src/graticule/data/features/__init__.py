"""Bands made from others: the shape of the ground, spectral indices; and what the common bands mean."""
