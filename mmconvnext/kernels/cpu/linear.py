"""Linear layers over a list of pixels, on the CPU."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

# Fewer pixels than this do not repay what packing a weight costs
PIXELS_WORTH_PACKING = 2048


def can_pack(dtype: torch.dtype) -> bool:
    """Whether oneDNN can hold weights of this dtype in the layout that its matrix products want."""
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def affine(
    weight: Tensor, bias: Tensor | None, pixels: int, *, gelu: bool = False, pack: bool | None = None
) -> Callable[[Tensor], Tensor]:
    """Returns a function from (n, c_in) to (n, c_out), ``weight @ x + bias`` on each pixel, GELU after it if wanted.

    On some CPUs the product behind ``F.linear`` reaches half of what oneDNN's reaches with a packed weight, which also
    applies bias and GELU on the way out.

    Args:
        weight: (c_out, c_in).
        bias: (c_out,) or None.
        pixels: About how many pixels each call will have, and what packing is chosen for.
        gelu: Whether the exact GELU follows.
        pack: Whether to pack the weight; by default where ``pixels`` repay it.
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
