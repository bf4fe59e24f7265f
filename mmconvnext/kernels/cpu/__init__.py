"""A block on the CPU: `autograd` is the entry; `chunked_forward` and `chunked_backward` compute."""
