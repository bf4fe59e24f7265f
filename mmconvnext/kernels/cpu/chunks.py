"""Maps as lists of pixels, cut into chunks whose activations stay in the cache."""

import itertools
from collections.abc import Iterator

from torch import Tensor

# Longest chunk for inference, as bytes of its activations
ACTIVATION_BYTES = 2**22
# Longest chunk where pre-activations are kept, and of every backward, in pixels. Each chunk adds to the gradients of
# the weights, which are large where C is, so that shorter chunks would take more time
TRAINING_PIXELS = 1024


def as_pixels(x: Tensor) -> Tensor:
    """Views (B, C, H, W) in channels-last memory as (B * H * W, C)."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def as_maps(x: Tensor, like: Tensor) -> Tensor:
    """Views (B * H * W, C) as (B, C, H, W), the shape of ``like``, in channels-last memory."""
    batch, channels, height, width = like.shape
    return x.view(batch, height, width, channels).permute(0, 3, 1, 2)


def chunks(span: slice, longest: int) -> list[slice]:
    """Cuts a range of pixels into chunks of about equal length, at most ``longest``."""
    length = span.stop - span.start
    count = -(-length // max(1, longest))
    cuts = [span.start + length * i // count for i in range(count + 1)]
    return list(itertools.starmap(slice, itertools.pairwise(cuts)))


def branches(x: Tensor, sample_scales: Tensor | None, *, by_sample: bool) -> Iterator[tuple[slice, float]]:
    """Iterates over ranges of pixels that are computed together, each with the factor of its residual branch.

    Args:
        x: (B, C, H, W).
        sample_scales: Stochastic depth's factor of each sample, (B,).
        by_sample: Whether each sample needs a range of its own, as with GRN. With ``sample_scales`` it has one anyway.
    """
    size = x.shape[2] * x.shape[3]
    if sample_scales is None and not by_sample:
        yield slice(0, len(x) * size), 1.0
        return
    scales = [1.0] * len(x) if sample_scales is None else sample_scales.tolist()
    for i, scale in enumerate(scales):
        yield slice(i * size, (i + 1) * size), scale
