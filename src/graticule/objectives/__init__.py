"""Losses, and metrics as functions of sums that add."""
