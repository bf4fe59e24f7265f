"""Data: the embedded `mini` set."""
