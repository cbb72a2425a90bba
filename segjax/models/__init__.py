"""Segmentation networks: one paper family a file, in the paper's words."""
