"""LayerNorm and the MLP in one kernel, for widths whose tile of pixels fits into registers.

The forward stores no 4C-wide tensor, unless the pre-activations are to be kept. The backward computes them again, some
of the 4C channels at a time. Triton's tensors have powers of two as sizes, so C is cut into powers of two, such as 96
into 64 and 32, and a tile of pixels is a tuple of tensors. All pixels of a program are of one sample, so stochastic
depth's factor and GRN's factors are the same for all of its rows.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmconvnext.kernels.grn import Response
from mmconvnext.kernels.triton import tiles
from mmconvnext.kernels.triton.folded import FoldedMLP


def forward(
    x: Tensor, y: Tensor, mlp: FoldedMLP, grn_gamma: Tensor | None, keep_hidden: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Computes everything behind the depthwise convolution.

    Args:
        x: Input of the block, (B, H, W, C).
        y: Output of the depthwise convolution, (B, H, W, C).
        mlp: The parameters.
        grn_gamma: GRN's weight, (4C,), float32, or None in V1.
        keep_hidden: Whether to return the pre-activations.

    Returns:
        The block's output in the dtype of ``x``; the pre-activations (B, H, W, 4C) or None; with GRN, the L2 norms of
        each sample's activations (B, 4C), float32, else None.
    """
    gx = None
    if grn_gamma is not None:
        gx = _column_sums(y, mlp, None, None).sqrt_()
        mlp = mlp.with_grn(Response(grn_gamma, gx).factor())
    out = torch.empty_like(x)
    hidden = y.new_empty((*y.shape[:3], mlp.w1.shape[0])) if keep_hidden else None
    tensors, constants, grid, options = _launch(y, mlp)
    flags = (grn_gamma is not None, keep_hidden)
    _norm_mlp[grid](x, y, *tensors, mlp.b2, out, _or(hidden, y), *constants, *flags, **options)
    return out, hidden, gx


def backward(
    grad_out: Tensor, y: Tensor, mlp: FoldedMLP, grn_gamma: Tensor | None, hidden: Tensor | None, gx: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """Backpropagates through :func:`forward` as far as ``y``.

    Args:
        grad_out: Gradient of the block's output, (B, H, W, C).
        y: Output of the depthwise convolution, (B, H, W, C).
        mlp: The parameters, as in the forward.
        grn_gamma: GRN's weight, (4C,), float32, or None in V1.
        hidden: Pre-activations, or None to compute them again.
        gx: With GRN, the L2 norms that the forward returned.

    Returns:
        Six tensors. In the dtype of ``y``: the gradient of ``y``, and the normalized pixels, both (B, H, W, C); the
        input of the second linear layer, and the gradient of the pre-activations, both (B, H, W, 4C). The caller
        multiplies these for the gradients of the weights. In float32: the gradients of b1 and of GRN's weight, (4C,).
    """
    factor = through_gx = grad_gamma = None
    if grn_gamma is not None and gx is not None:
        response = Response(grn_gamma, gx)
        factor = response.factor()
        grad_gamma, through_gx = response.backward(_column_sums(y, mlp, hidden, grad_out))
        grad_gamma = grad_gamma.sum(0)
        mlp = mlp.with_grn(factor)
    tensors, constants, grid, options = _launch(y, mlp)
    grad_y, normed = torch.empty_like(y), torch.empty_like(y)
    activation = y.new_empty((*y.shape[:3], mlp.w1.shape[0]))
    grad_hidden = torch.empty_like(activation)
    parts = y.new_empty((y.shape[0] * grid[0], mlp.w1.shape[0]), dtype=torch.float32)
    given = (grad_out, y, _or(hidden, y), *tensors, _or(factor, y), _or(through_gx, y))
    flags = (hidden is not None, grn_gamma is not None)
    _norm_mlp_backward[grid](*given, grad_y, normed, activation, grad_hidden, parts, *constants, *flags, **options)
    return grad_y, normed, activation, grad_hidden, parts.sum(0), grad_gamma


def _column_sums(y: Tensor, mlp: FoldedMLP, hidden: Tensor | None, grad_out: Tensor | None) -> Tensor:
    # Sums over each sample's pixels, (B, 4C): of the squared activations or, given grad_out, of the activations times
    # their gradients
    tensors, constants, grid, options = _launch(y, mlp)
    parts = y.new_empty((y.shape[0], grid[0], mlp.w1.shape[0]), dtype=torch.float32)
    flags = (hidden is not None, grad_out is not None)
    _norm_mlp_sums[grid](y, _or(hidden, y), _or(grad_out, y), *tensors, parts, *constants, *flags, **options)
    return parts.sum(1)


def _or(tensor: Tensor | None, other: Tensor) -> Tensor:
    # A kernel takes a pointer even for a tensor that its flags say is absent; it does not read it
    return other if tensor is None else tensor


def _launch(y: Tensor, mlp: FoldedMLP) -> tuple[tuple, tuple, tuple[int, int], dict[str, int]]:
    # What the launches of all three kernels have in common: tensors, constants, the grid, and Triton's options
    samples, height, width, channels = y.shape
    tile = tiles.norm_mlp(channels)
    tensors = (mlp.w1, mlp.b1, mlp.w2, _or(mlp.layer_scale, y), _or(mlp.sample_scales, y))
    sizes = (height * width, channels, tiles.powers_of_two(channels), tile.pixels, tile.hidden)
    constants = (*sizes, mlp.layer_scale is not None, mlp.sample_scales is not None)
    grid = (triton.cdiv(height * width, tile.pixels), samples)
    return tensors, constants, grid, dict(num_warps=tile.warps, num_stages=tile.stages)


@triton.jit(do_not_specialize=['pixels'])
def _norm_mlp(
    x_ptr,
    y_ptr,
    w1_ptr,
    b1_ptr,
    w2_ptr,
    layer_scale_ptr,
    sample_scales_ptr,
    b2_ptr,
    out_ptr,
    hidden_ptr,
    pixels,
    channels: tl.constexpr,
    chunks: tl.constexpr,
    block: tl.constexpr,
    step: tl.constexpr,
    has_layer_scale: tl.constexpr,
    has_sample_scales: tl.constexpr,
    w2_of_sample: tl.constexpr,
    keep_hidden: tl.constexpr,
):
    sample, row, inside = _tile(pixels, block)
    if w2_of_sample:
        w2_ptr += sample * (4 * channels * channels)
    dtype = y_ptr.dtype.element_ty

    normed = _normed(y_ptr, row, inside, dtype, channels, chunks)
    sums = ()
    for i in tl.static_range(len(chunks)):
        sums += (tl.zeros((block, chunks[i]), tl.float32),)
    for first in tl.range(0, 4 * channels, step):
        h = first + tl.arange(0, step)[None, :]
        hidden = _up(normed, w1_ptr, b1_ptr, h, channels, chunks)
        if keep_hidden:
            tl.store(hidden_ptr + row * (4 * channels) + h, hidden.to(dtype), mask=inside)
        activation = (hidden * _normal_cdf(hidden)).to(dtype)
        old = sums
        sums = ()
        start = 0
        for i in tl.static_range(len(chunks)):
            c = start + tl.arange(0, chunks[i])[None, :]
            w2 = tl.load(w2_ptr + c * (4 * channels) + tl.trans(h))  # (step, chunk)
            sums += (tl.dot(activation, w2, old[i], input_precision='ieee'),)
            start += chunks[i]

    start = 0
    for i in tl.static_range(len(chunks)):
        c = start + tl.arange(0, chunks[i])[None, :]
        value = sums[i] + tl.load(b2_ptr + c)
        if has_layer_scale:
            value *= tl.load(layer_scale_ptr + c)
        if has_sample_scales:
            value *= tl.load(sample_scales_ptr + sample)
        value += tl.load(x_ptr + row * channels + c, mask=inside, other=0.0).to(tl.float32)
        tl.store(out_ptr + row * channels + c, value.to(out_ptr.dtype.element_ty), mask=inside)
        start += chunks[i]


@triton.jit(do_not_specialize=['pixels'])
def _norm_mlp_sums(
    y_ptr,
    hidden_ptr,
    grad_ptr,
    w1_ptr,
    b1_ptr,
    w2_ptr,
    layer_scale_ptr,
    sample_scales_ptr,
    parts_ptr,
    pixels,
    channels: tl.constexpr,
    chunks: tl.constexpr,
    block: tl.constexpr,
    step: tl.constexpr,
    has_layer_scale: tl.constexpr,
    has_sample_scales: tl.constexpr,
    has_hidden: tl.constexpr,
    has_grad: tl.constexpr,
):
    # Sums over a tile's pixels: of the squared activations or, with has_grad, of the activations times their gradients
    sample, row, inside = _tile(pixels, block)
    parts_ptr += (sample * tl.num_programs(0) + tl.program_id(0)) * (4 * channels)
    dtype = y_ptr.dtype.element_ty

    normed = _normed(y_ptr, row, inside, dtype, channels, chunks)
    if has_grad:
        grad = _branch_grad(
            grad_ptr,
            row,
            inside,
            layer_scale_ptr,
            sample_scales_ptr + sample,
            dtype,
            channels,
            chunks,
            has_layer_scale,
            has_sample_scales,
        )
    for first in tl.range(0, 4 * channels, step):
        h = first + tl.arange(0, step)[None, :]
        if has_hidden:
            hidden = tl.load(hidden_ptr + row * (4 * channels) + h, mask=inside, other=0.0).to(tl.float32)
        else:
            hidden = _up(normed, w1_ptr, b1_ptr, h, channels, chunks)
        activation = hidden * _normal_cdf(hidden)
        if has_grad:
            product = activation * _down_grad(grad, w2_ptr, h, block, step, channels, chunks)
        else:
            product = activation * activation
        total = tl.sum(tl.where(inside, product, 0.0), 0)
        tl.store(parts_ptr + first + tl.arange(0, step), total)


@triton.jit(do_not_specialize=['pixels'])
def _norm_mlp_backward(
    grad_ptr,
    y_ptr,
    hidden_ptr,
    w1_ptr,
    b1_ptr,
    w2_ptr,
    layer_scale_ptr,
    sample_scales_ptr,
    factor_ptr,
    through_gx_ptr,
    grad_y_ptr,
    normed_ptr,
    activation_ptr,
    grad_hidden_ptr,
    parts_ptr,
    pixels,
    channels: tl.constexpr,
    chunks: tl.constexpr,
    block: tl.constexpr,
    step: tl.constexpr,
    has_layer_scale: tl.constexpr,
    has_sample_scales: tl.constexpr,
    has_hidden: tl.constexpr,
    has_grn: tl.constexpr,
):
    sample, row, inside = _tile(pixels, block)
    parts_ptr += (sample * tl.num_programs(0) + tl.program_id(0)) * (4 * channels)
    if has_grn:
        w2_ptr += sample * (4 * channels * channels)
        factor_ptr += sample * (4 * channels)
        through_gx_ptr += sample * (4 * channels)
    dtype = y_ptr.dtype.element_ty

    normed = _normed(y_ptr, row, inside, dtype, channels, chunks)
    start = 0
    for i in tl.static_range(len(chunks)):
        tl.store(normed_ptr + row * channels + start + tl.arange(0, chunks[i])[None, :], normed[i], mask=inside)
        start += chunks[i]
    grad = _branch_grad(
        grad_ptr,
        row,
        inside,
        layer_scale_ptr,
        sample_scales_ptr + sample,
        dtype,
        channels,
        chunks,
        has_layer_scale,
        has_sample_scales,
    )
    sums = ()
    for i in tl.static_range(len(chunks)):
        sums += (tl.zeros((block, chunks[i]), tl.float32),)
    for first in tl.range(0, 4 * channels, step):
        h = first + tl.arange(0, step)[None, :]
        wide = row * (4 * channels) + h
        if has_hidden:
            hidden = tl.load(hidden_ptr + wide, mask=inside, other=0.0).to(tl.float32)
        else:
            hidden = _up(normed, w1_ptr, b1_ptr, h, channels, chunks)
        cdf = _normal_cdf(hidden)
        activation = hidden * cdf
        grad_hidden = _down_grad(grad, w2_ptr, h, block, step, channels, chunks)
        if has_grn:
            grad_hidden += activation * tl.load(through_gx_ptr + h)
            activation *= tl.load(factor_ptr + h)
        grad_hidden *= cdf + hidden * tl.exp(-0.5 * hidden * hidden) * 0.3989422804014327
        grad_hidden = tl.where(inside, grad_hidden, 0.0)
        tl.store(parts_ptr + first + tl.arange(0, step), tl.sum(grad_hidden, 0))
        grad_hidden = grad_hidden.to(dtype)
        tl.store(activation_ptr + wide, activation.to(dtype), mask=inside)
        tl.store(grad_hidden_ptr + wide, grad_hidden, mask=inside)
        old = sums
        sums = ()
        start = 0
        for i in tl.static_range(len(chunks)):
            c = start + tl.arange(0, chunks[i])[None, :]
            w1 = tl.load(w1_ptr + tl.trans(h) * channels + c)  # (step, chunk)
            sums += (tl.dot(grad_hidden, w1, old[i], input_precision='ieee'),)
            start += chunks[i]

    # Normalized again in float32: to hold it in registers all along would take too many
    normed, rstd = _normalize(_load(y_ptr, row, inside, channels, chunks), channels, chunks)
    mean = tl.zeros((block,), tl.float32)
    along = tl.zeros((block,), tl.float32)
    for i in tl.static_range(len(chunks)):
        mean += tl.sum(sums[i], 1)
        along += tl.sum(sums[i] * normed[i], 1)
    mean = (mean / channels)[:, None]
    along = (along / channels)[:, None]
    start = 0
    for i in tl.static_range(len(chunks)):
        value = rstd * (sums[i] - mean - normed[i] * along)
        tl.store(grad_y_ptr + row * channels + start + tl.arange(0, chunks[i])[None, :], value.to(dtype), mask=inside)
        start += chunks[i]


@triton.jit
def _tile(pixels, block: tl.constexpr):
    # A program's sample, the indices of its pixels among those of all samples, and whether they are of that sample,
    # both (block, 1)
    sample = tl.program_id(1)
    row = tl.program_id(0) * block + tl.arange(0, block)
    return sample, (sample * pixels + row)[:, None], (row < pixels)[:, None]


@triton.jit
def _load(pointer, row, inside, channels: tl.constexpr, chunks: tl.constexpr):
    # A tile of pixels in float32: for each chunk of channels a tensor (block, chunk)
    values = ()
    start = 0
    for i in tl.static_range(len(chunks)):
        offset = row * channels + start + tl.arange(0, chunks[i])[None, :]
        values += (tl.load(pointer + offset, mask=inside, other=0.0).to(tl.float32),)
        start += chunks[i]
    return values


@triton.jit
def _normed(y_ptr, row, inside, dtype: tl.constexpr, channels: tl.constexpr, chunks: tl.constexpr):
    # A tile of normalized pixels, in the dtype of the products
    values, _ = _normalize(_load(y_ptr, row, inside, channels, chunks), channels, chunks)
    normed = ()
    for i in tl.static_range(len(chunks)):
        normed += (values[i].to(dtype),)
    return normed


@triton.jit
def _normalize(values, channels: tl.constexpr, chunks: tl.constexpr):
    # LayerNorm without weight and bias; and 1 / standard deviation, (block, 1)
    total = tl.sum(values[0], 1)
    for i in tl.static_range(1, len(chunks)):
        total += tl.sum(values[i], 1)
    mean = (total / channels)[:, None]
    centred = ()
    for i in tl.static_range(len(chunks)):
        centred += (values[i] - mean,)
    square = tl.sum(centred[0] * centred[0], 1)
    for i in tl.static_range(1, len(chunks)):
        square += tl.sum(centred[i] * centred[i], 1)
    rstd = (1.0 / tl.sqrt(square / channels + 1e-6))[:, None]
    normed = ()
    for i in tl.static_range(len(chunks)):
        normed += (centred[i] * rstd,)
    return normed, rstd


@triton.jit
def _branch_grad(
    grad_ptr,
    row,
    inside,
    layer_scale_ptr,
    sample_scale_ptr,
    dtype: tl.constexpr,
    channels: tl.constexpr,
    chunks: tl.constexpr,
    has_layer_scale: tl.constexpr,
    has_sample_scales: tl.constexpr,
):
    # Gradient of the second linear layer's output: for each chunk of channels a tensor (block, chunk)
    loaded = _load(grad_ptr, row, inside, channels, chunks)
    grad = ()
    start = 0
    for i in tl.static_range(len(chunks)):
        value = loaded[i]
        if has_layer_scale:
            value *= tl.load(layer_scale_ptr + start + tl.arange(0, chunks[i])[None, :])
        if has_sample_scales:
            value *= tl.load(sample_scale_ptr)
        grad += (value.to(dtype),)
        start += chunks[i]
    return grad


@triton.jit
def _up(normed, w1_ptr, b1_ptr, h, channels: tl.constexpr, chunks: tl.constexpr):
    # Pre-activations of the channels h, (block, step); h is (1, step)
    hidden = tl.load(b1_ptr + h)
    start = 0
    for i in tl.static_range(len(chunks)):
        c = start + tl.arange(0, chunks[i])[:, None]
        w1 = tl.load(w1_ptr + h * channels + c)  # (chunk, step)
        hidden += tl.dot(normed[i], w1, input_precision='ieee')
        start += chunks[i]
    return hidden


@triton.jit
def _down_grad(grad, w2_ptr, h, block: tl.constexpr, step: tl.constexpr, channels: tl.constexpr, chunks: tl.constexpr):
    # Gradient of the activations of the channels h, (block, step)
    total = tl.zeros((block, step), tl.float32)
    start = 0
    for i in tl.static_range(len(chunks)):
        c = start + tl.arange(0, chunks[i])[:, None]
        w2 = tl.load(w2_ptr + c * (4 * channels) + h)  # (chunk, step)
        total = tl.dot(grad[i], w2, total, input_precision='ieee')
        start += chunks[i]
    return total


@triton.jit
def _normal_cdf(x):
    return 0.5 * (1.0 + tl.erf(x * 0.7071067811865476))
