"""What the command lines share: a config made ready for this machine and this data, run, and reported."""
