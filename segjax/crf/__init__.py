"""The fully connected CRF: its mean field, and the filters that make it fast."""
