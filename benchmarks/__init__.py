"""What is measured against whom."""

import mmconvnext  # noqa: F401  MMDetection, when it is imported, looks for mmcv's operators
