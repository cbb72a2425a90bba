"""Predictors, and the wrappers that change them: windows, scales, flips, the CRF."""
