"""LayerNorm and the MLP behind it in one kernel, for widths whose tile of pixels fits into registers.

Nothing of width 4C is written going forward unless it is to be kept. Going back, the kernel computes it again, 64 of
the 4C channels at a time. C is cut into powers of two, such as 96 into 64 and 32, since those are the shapes that
Triton has; a tile of pixels is one tensor for each of them. A program's pixels are of one sample, so that what differs
between samples, their factor in stochastic depth and V2's response, is the same for all of its rows.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmconvnext.kernels.grn import Response
from mmconvnext.kernels.triton import tables
from mmconvnext.kernels.triton.weights import MLP


def forward(
    x: Tensor, y: Tensor, mlp: MLP, grn_gamma: Tensor | None, keep_hidden: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Everything behind the depthwise convolution.

    Args:
        x: Input of the block, (N, H, W, C).
        y: What the depthwise convolution gives, likewise.
        mlp: The tensors.
        grn_gamma: GRN's scale, (4C,), float32.
        keep_hidden: Whether to return what goes into GELU.

    Returns:
        Output of the block in the dtype of ``x``; what goes into GELU (N, H, W, 4C), if wanted; the energy of each
        sample's activations (N, 4C), float32, with GRN.
    """
    energy = None
    if grn_gamma is not None:
        energy = _column_sums(y, mlp, None, None).sqrt_()
        mlp = mlp.with_response(Response(grn_gamma, energy).scale())
    out = torch.empty_like(x)
    hidden = y.new_empty((*y.shape[:3], mlp.w1.shape[0])) if keep_hidden else None
    tile, grid, sizes = _launch(y)
    _norm_mlp[grid](
        x,
        y,
        mlp.w1,
        mlp.b1,
        mlp.w2,
        mlp.b2,
        _or(mlp.layer_scale, y),
        _or(mlp.sample_scales, y),
        out,
        _or(hidden, y),
        *sizes,
        grn_gamma is not None,
        mlp.layer_scale is not None,
        mlp.sample_scales is not None,
        keep_hidden,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return out, hidden, energy


def backward(
    grad_out: Tensor, y: Tensor, mlp: MLP, grn_gamma: Tensor | None, hidden: Tensor | None, energy: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """Gradients on the way back, and what the matrices' gradients are products of.

    Args:
        grad_out: Gradient of the block's output, (N, H, W, C).
        y: What the depthwise convolution gave, likewise.
        mlp: The tensors of the forward pass.
        grn_gamma: GRN's scale, (4C,), float32.
        hidden: What went into GELU, or None to compute it again.
        energy: That of the forward pass, with GRN.

    Returns:
        Gradient of ``y`` (N, H, W, C); normalized pixels, likewise; what went into the second matrix, and the gradient
        of what came out of the first (N, H, W, 4C), all in the dtype of ``y``; the gradients of b1 and of GRN's scale
        (4C,), float32.
    """
    scale = factor = grad_gamma = None
    if grn_gamma is not None and energy is not None:
        response = Response(grn_gamma, energy)
        scale = response.scale()
        grad_gamma, factor = response.backward(_column_sums(y, mlp, hidden, grad_out))
        grad_gamma = grad_gamma.sum(0)
        mlp = mlp.with_response(scale)
    tile, grid, sizes = _launch(y)
    grad_y, normed = torch.empty_like(y), torch.empty_like(y)
    activation = y.new_empty((*y.shape[:3], mlp.w1.shape[0]))
    grad_hidden = torch.empty_like(activation)
    parts = y.new_empty((y.shape[0] * grid[0], mlp.w1.shape[0]), dtype=torch.float32)
    _norm_mlp_backward[grid](
        grad_out,
        y,
        _or(hidden, y),
        mlp.w1,
        mlp.b1,
        mlp.w2,
        _or(mlp.layer_scale, y),
        _or(mlp.sample_scales, y),
        _or(scale, y),
        _or(factor, y),
        grad_y,
        normed,
        activation,
        grad_hidden,
        parts,
        *sizes,
        mlp.layer_scale is not None,
        mlp.sample_scales is not None,
        hidden is not None,
        grn_gamma is not None,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return grad_y, normed, activation, grad_hidden, parts.sum(0), grad_gamma


def _column_sums(y: Tensor, mlp: MLP, hidden: Tensor | None, grad_out: Tensor | None) -> Tensor:
    # Over each sample's pixels (N, 4C): of the squared activations, or of the activations times their gradients
    tile, grid, sizes = _launch(y)
    parts = y.new_empty((y.shape[0], grid[0], mlp.w1.shape[0]), dtype=torch.float32)
    _norm_mlp_sums[grid](
        y,
        _or(hidden, y),
        _or(grad_out, y),
        mlp.w1,
        mlp.b1,
        mlp.w2,
        _or(mlp.layer_scale, y),
        _or(mlp.sample_scales, y),
        parts,
        *sizes,
        mlp.layer_scale is not None,
        mlp.sample_scales is not None,
        hidden is not None,
        grad_out is not None,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return parts.sum(1)


def _or(tensor: Tensor | None, other: Tensor) -> Tensor:
    # A kernel does not touch what its flags say is not there, but wants a pointer
    return other if tensor is None else tensor


def _launch(y: Tensor) -> tuple[tables.MLPTile, tuple[int, int], tuple]:
    samples, height, width, channels = y.shape
    tile = tables.norm_mlp(channels)
    sizes = (height * width, channels, tables.powers_of_two(channels), tile.pixels, tile.hidden)
    return tile, (triton.cdiv(height * width, tile.pixels), samples), sizes


@triton.jit(do_not_specialize=['pixels'])
def _norm_mlp(
    x_ptr,
    y_ptr,
    w1_ptr,
    b1_ptr,
    w2_ptr,
    b2_ptr,
    layer_scale_ptr,
    sample_scales_ptr,
    out_ptr,
    hidden_ptr,
    pixels,
    channels: tl.constexpr,
    chunks: tl.constexpr,
    block: tl.constexpr,
    step: tl.constexpr,
    w2_of_sample: tl.constexpr,
    has_layer_scale: tl.constexpr,
    has_sample_scales: tl.constexpr,
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
    # Over a tile's pixels, of the squared activations; or of the activations times their gradient
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
    response_ptr,
    grad_activation_ptr,
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
    has_response: tl.constexpr,
):
    sample, row, inside = _tile(pixels, block)
    parts_ptr += (sample * tl.num_programs(0) + tl.program_id(0)) * (4 * channels)
    if has_response:
        w2_ptr += sample * (4 * channels * channels)
        response_ptr += sample * (4 * channels)
        grad_activation_ptr += sample * (4 * channels)
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
        if has_response:
            grad_hidden += activation * tl.load(grad_activation_ptr + h)
            activation *= tl.load(response_ptr + h)
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

    # Normalized again, in float32, rather than held in registers all along
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
    # A program's sample, its rows of all samples' pixels, and whether they are of that sample, (block, 1)
    sample = tl.program_id(1)
    row = tl.program_id(0) * block + tl.arange(0, block)
    return sample, (sample * pixels + row)[:, None], (row < pixels)[:, None]


@triton.jit
def _load(pointer, row, inside, channels: tl.constexpr, chunks: tl.constexpr):
    # A tile of pixels in float32, (block, chunk) for each chunk
    values = ()
    start = 0
    for i in tl.static_range(len(chunks)):
        offset = row * channels + start + tl.arange(0, chunks[i])[None, :]
        values += (tl.load(pointer + offset, mask=inside, other=0.0).to(tl.float32),)
        start += chunks[i]
    return values


@triton.jit
def _normed(y_ptr, row, inside, dtype: tl.constexpr, channels: tl.constexpr, chunks: tl.constexpr):
    # A tile of normalized pixels in the dtype of the products
    values, _ = _normalize(_load(y_ptr, row, inside, channels, chunks), channels, chunks)
    normed = ()
    for i in tl.static_range(len(chunks)):
        normed += (values[i].to(dtype),)
    return normed


@triton.jit
def _normalize(values, channels: tl.constexpr, chunks: tl.constexpr):
    # LayerNorm without its affine, and the factor 1 / deviation (block, 1)
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
    # Gradient of what the second matrix gives, (block, chunk) for each chunk
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
    # Some of the 4C channels that go into GELU, (block, step); h is (1, step)
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
    # Gradient of some of the activations, (block, step)
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
