"""The masker: one encoder, and decoders of depth, classes and flood mask that see each other's features."""
