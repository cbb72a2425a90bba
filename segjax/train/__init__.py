"""Training and evaluating runs: steps, loop, checkpoints, single runs and ablations of many."""
