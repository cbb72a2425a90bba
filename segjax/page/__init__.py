"""The local page of `segjax.serve`: what it accepts, what it predicts, how it answers."""
