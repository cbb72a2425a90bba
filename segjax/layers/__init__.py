"""Flax modules that two or more networks share."""
