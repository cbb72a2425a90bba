"""Pretrained weights files: finding them, reading them, and renaming their arrays."""
