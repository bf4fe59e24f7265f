"""A block on the CPU: `operators` is the entry, and for deployed blocks `chunked_forward`."""
