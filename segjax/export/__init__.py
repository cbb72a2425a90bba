"""A run's network as one file for programs without segjax."""
