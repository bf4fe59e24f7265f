"""Which mmcv is installed, and how to get one with compiled operators in its place."""
from __future__ import annotations
def how_to_compile() -> str:
    return ''
