"""Predictors, scoring and drawing."""
