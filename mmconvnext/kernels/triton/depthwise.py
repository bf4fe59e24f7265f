"""The 7x7 depthwise convolution and its gradients, on maps (B, H, W, C) in contiguous memory.

A program has a tile of pixels in registers. Each of its lanes has neighbouring columns of a few rows, with one tensor
(lanes, channels) for each pixel. The program goes through the rows within reach of its taps, loads each pixel once, and
adds it to every sum that it belongs to. Sums are float32 for every dtype. Nothing is atomic, so results repeat.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmconvnext.kernels.triton import tiles

TAPS = 49


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    *,
    flip: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Convolves each channel with its own 7x7 kernel, with padding 3.

    Args:
        x: (B, H, W, C), contiguous.
        weight: (49, C), float32.
        bias: (C,), float32, or None.
        residual: (B, H, W, C), contiguous, to add to the output, or None.
        flip: Whether to reverse the order of the taps. This turns the output's gradient into the input's.
        dtype: Of the output; None for the input's.
    """
    samples, height, width, channels = x.shape
    out = torch.empty_like(x, dtype=dtype)
    tile = tiles.depthwise(channels)
    grid = (
        channels // tile.channels * triton.cdiv(width, tile.lanes * tile.columns),
        triton.cdiv(height, tile.rows),
        samples,
    )
    # A kernel takes a pointer even for an absent tensor; it does not read it
    tensors = (x, weight, x if bias is None else bias, x if residual is None else residual, out)
    flags = (flip, bias is not None, residual is not None)
    _depthwise[grid](*tensors, height, width, channels, *tile[:-1], *flags, num_warps=tile.warps)
    return out


def weight_gradient(x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the gradients of the weight (49, C) and of the bias (C,), float32.

    Args:
        x: Input of the convolution, (B, H, W, C), contiguous.
        grad: Gradient of its output, (B, H, W, C), contiguous.
    """
    samples, height, width, channels = x.shape
    tile = tiles.depthwise(channels)
    blocks = channels // tile.channels
    count = samples * triton.cdiv(height, tile.rows) * triton.cdiv(width, tile.lanes * tile.columns)
    splits = min(count, tiles.splits(blocks))
    # Each split has 50 rows; the last is the bias
    parts = x.new_empty((splits, TAPS + 1, channels), dtype=torch.float32)
    sizes = (samples, height, width, splits, channels, *tile[:-1])
    _depthwise_weight_gradient[(blocks, splits)](x, grad, parts, *sizes, num_warps=tile.warps)
    total = parts.sum(0)
    return total[:TAPS], total[TAPS].clone()  # a custom operator must not return two views of one tensor


@triton.jit(do_not_specialize=['height', 'width'])
def _depthwise(
    x_ptr,
    weight_ptr,
    bias_ptr,
    residual_ptr,
    out_ptr,
    height,
    width,
    channels: tl.constexpr,
    block: tl.constexpr,
    lanes: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
    flip: tl.constexpr,
    has_bias: tl.constexpr,
    has_residual: tl.constexpr,
):
    # Channels are the fastest axis of the grid, so that programs which share rows run together. Weights are loaded at
    # all (lanes, block) offsets, because broadcasting one row of them would go through shared memory
    blocks: tl.constexpr = channels // block
    channel = tl.program_id(0) % blocks * block + tl.arange(0, block)[None, :] + tl.zeros((lanes, block), tl.int32)
    column = _columns(tl.program_id(0) // blocks, lanes, block, columns)
    first = tl.program_id(1) * rows
    offset = tl.program_id(2) * height * width * channels + column * channels + channel
    inside = _inside(column, width, columns)

    sums = ()
    for _ in tl.static_range(rows * columns):
        sums += (tl.zeros((lanes, block), tl.float32),)
    for r in tl.static_range(rows + 6):
        row = first + (r - 3)
        if (row >= 0) & (row < height):
            pixels = _pixels(x_ptr + row * width * channels + offset, inside, channels, columns)
            old = sums
            sums = ()
            for t in tl.static_range(rows):
                line = ()
                for u in tl.static_range(columns):
                    line += (old[t * columns + u],)
                if (r - t >= 0) and (r - t < 7):
                    for k in tl.static_range(7):
                        tap = (48 - (r - t) * 7 - k) if flip else ((r - t) * 7 + k)
                        weight = tl.load(weight_ptr + tap * channels + channel)
                        new = ()
                        for u in tl.static_range(columns):
                            new += (line[u] + pixels[u + k] * weight,)
                        line = new
                sums += line

    for t in tl.static_range(rows):
        here = offset + (first + t) * width * channels
        for u in tl.static_range(columns):
            value = sums[t * columns + u]
            mask = inside[u + 3] & (first + t < height)
            if has_bias:
                value += tl.load(bias_ptr + channel)
            if has_residual:
                value += tl.load(residual_ptr + here + u * channels, mask=mask, other=0.0).to(tl.float32)
            tl.store(out_ptr + here + u * channels, value.to(out_ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=['samples', 'height', 'width', 'splits'])
def _depthwise_weight_gradient(
    x_ptr,
    grad_ptr,
    parts_ptr,
    samples,
    height,
    width,
    splits,
    channels: tl.constexpr,
    block: tl.constexpr,
    lanes: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
):
    channel = tl.program_id(0) * block + tl.arange(0, block)
    split = tl.program_id(1)
    tiles_w = tl.cdiv(width, lanes * columns)
    tiles_h = tl.cdiv(height, rows)
    sums = ()
    for _ in tl.static_range(49):
        sums += (tl.zeros((lanes, block), tl.float32),)
    total = tl.zeros((lanes, block), tl.float32)
    for tile in range(split, samples * tiles_h * tiles_w, splits):
        column = _columns(tile % tiles_w, lanes, block, columns)
        first = tile // tiles_w % tiles_h * rows
        offset = tile // tiles_w // tiles_h * height * width * channels + column * channels + channel[None, :]
        inside = _inside(column, width, columns)

        grads = ()
        for t in tl.static_range(rows):
            for u in tl.static_range(columns):
                pointers = grad_ptr + offset + (first + t) * width * channels + u * channels
                mask = inside[u + 3] & (first + t < height)
                grad = tl.load(pointers, mask=mask, other=0.0).to(tl.float32)
                total += grad
                grads += (grad,)
        for r in tl.static_range(rows + 6):
            row = first + (r - 3)
            if (row >= 0) & (row < height):
                pixels = _pixels(x_ptr + row * width * channels + offset, inside, channels, columns)
                old = sums
                sums = ()
                for i in tl.static_range(7):
                    for k in tl.static_range(7):
                        value = old[i * 7 + k]
                        if (r - i >= 0) and (r - i < rows):
                            for u in tl.static_range(columns):
                                value += pixels[u + k] * grads[(r - i) * columns + u]
                        sums += (value,)

    parts_ptr += split * 50 * channels + channel
    for tap in tl.static_range(49):
        tl.store(parts_ptr + tap * channels, tl.sum(sums[tap], 0))
    tl.store(parts_ptr + 49 * channels, tl.sum(total, 0))


@triton.jit
def _columns(tile, lanes: tl.constexpr, block: tl.constexpr, columns: tl.constexpr):
    # First column of each lane, (lanes, block)
    return (tile * lanes + tl.arange(0, lanes)[:, None]) * columns + tl.zeros((lanes, block), tl.int32)


@triton.jit
def _inside(column, width, columns: tl.constexpr):
    # Whether each column within reach is on the map: 3 left of the lane's first to 3 right of its last
    inside = ()
    for j in tl.static_range(columns + 6):
        inside += ((column + (j - 3) >= 0) & (column + (j - 3) < width),)
    return inside


@triton.jit
def _pixels(pointers, inside, channels: tl.constexpr, columns: tl.constexpr):
    pixels = ()
    for j in tl.static_range(columns + 6):
        pixels += (tl.load(pointers + (j - 3) * channels, mask=inside[j], other=0.0).to(tl.float32),)
    return pixels
