"""The benchmarks: speed and memory of this package and of what a user could take instead."""

import mmconvnext  # noqa: F401  MMDetection needs mmcv's operators when it is imported
