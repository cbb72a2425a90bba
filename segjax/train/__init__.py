"""The pure train step, and around it optimizers, checkpoints, the loop and the report."""
