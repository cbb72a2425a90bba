"""What a run needs, before it runs: memory, time, cost, and the largest batch that fits."""
