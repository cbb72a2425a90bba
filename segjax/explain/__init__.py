"""Commands that teach: what an operation does and what a model costs, as text and figures."""
