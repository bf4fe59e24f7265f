"""A block on the GPU in Triton's language: `operators` is the entry, `launches` calls the kernels.

Triton is imported when a kernel is first launched.
"""
