"""Augmentations in NumPy: frozen dataclasses, `(example, rng) → example`."""
