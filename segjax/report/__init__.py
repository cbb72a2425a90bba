"""Pages in HTML: a run, an ablation, and the figures and tables that they are made of."""
