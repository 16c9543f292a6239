"""Cross-validation, scoring, search spaces and studies. Trains nothing: it is handed a callable that does."""
