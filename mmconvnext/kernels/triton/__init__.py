"""A whole block on the GPU in Triton's language, behind two custom operators.

Nothing here imports Triton until a kernel is launched.
"""
