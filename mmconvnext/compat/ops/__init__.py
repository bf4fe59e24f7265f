"""Operators of mmcv without a line to compile, one file each; ``compat/mmcv_ext.py`` offers them."""
