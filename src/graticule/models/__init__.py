"""Nets: tensors in, tensors out; they know neither data nor losses."""
