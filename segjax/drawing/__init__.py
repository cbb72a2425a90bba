"""Predictions as pictures, cut-outs and polygons: NumPy and Pillow, no network."""
