"""Windows to batches to a field to a file; evaluation is prediction plus sums."""
