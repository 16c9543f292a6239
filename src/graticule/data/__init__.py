"""Sources, preparation, the store, splits, augmentation and loading."""
