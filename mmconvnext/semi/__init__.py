"""Learning from images without labels, beside those with labels."""
