"""Linear layers over a list of pixels, on the CPU."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

# With fewer pixels, packing a weight takes longer than it saves
PIXELS_WORTH_PACKING = 2048

Linear = Callable[[Tensor], Tensor]


def can_pack(dtype: torch.dtype) -> bool:
    """Whether oneDNN has matrix products with packed weights of this dtype on this CPU."""
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def prepare_linear(
    weight: Tensor, bias: Tensor | None, pixels: int, *, gelu: bool = False, pack: bool | None = None
) -> Linear:
    """Returns a function from (n, c_in) to (n, c_out): a linear layer, and GELU if asked for.

    On some CPUs oneDNN with a packed weight is twice as fast as ``F.linear``. It also adds the bias and applies GELU
    before it writes the output.

    Args:
        weight: (c_out, c_in).
        bias: (c_out,) or None.
        pixels: Number of pixels that the function will be called with.
        gelu: Whether to apply the exact GELU.
        pack: Whether to pack the weight if possible. By default it is packed for at least ``PIXELS_WORTH_PACKING``.
    """
    if pack is None:
        pack = pixels >= PIXELS_WORTH_PACKING
    if pack and can_pack(weight.dtype):
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), min(pixels, PIXELS_WORTH_PACKING))
        run = torch.ops.mkldnn._linear_pointwise
        if gelu:
            return lambda x: run(x, packed, bias, 'gelu', [], 'none')
        return lambda x: run(x, packed, bias, 'none', [], '')
    if gelu:
        return lambda x: F.gelu(F.linear(x, weight, bias))
    return lambda x: F.linear(x, weight, bias)
