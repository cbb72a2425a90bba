"""The local page of `segjax.serve`: uploads, predictions and the HTTP server."""
