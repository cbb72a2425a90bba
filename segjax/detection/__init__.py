"""Detectors between their networks and their objects: targets, samples, proposals, the rest."""
