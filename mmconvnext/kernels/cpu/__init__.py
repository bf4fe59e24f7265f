"""A block on the CPU: `block` is the entry, `passes` the computation, `ops` what compilers see of it."""
