"""Scores that `Evaluation.metrics` computes beside the metric of the task."""
