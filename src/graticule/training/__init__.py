"""The fit loop's set-up, exact resume, checkpoints, callbacks and trackers."""
