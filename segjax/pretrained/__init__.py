"""Weights files of others: where they lie, what is in them, and our names for it."""
