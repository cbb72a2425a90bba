"""What a network is for: how it is trained, scored and shown. One task a file."""
