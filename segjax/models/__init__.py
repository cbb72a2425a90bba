"""Segmentation networks: each file holds one family of papers, in the papers' words."""
