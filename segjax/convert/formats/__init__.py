"""Readers of annotation formats, one file a format."""
