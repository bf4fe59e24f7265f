"""What is measured, and against whom; run as ``python -m benchmarks.backbone``."""
