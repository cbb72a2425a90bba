"""Annotations of other tools → a folder of images and masks that `Folder` reads."""
