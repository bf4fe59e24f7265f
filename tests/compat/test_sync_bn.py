"""MMSyncBN over several ranks, against the definition over what all of them have, in double precision.

The ranks are threads of this process with a gloo group of their own: mmcv's layer and the operators do not know.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from mmcv.ops import SyncBatchNorm
from torch import Tensor

pytestmark = [
    pytest.mark.usefixtures('stand_in'),
    pytest.mark.skipif(not dist.is_gloo_available(), reason='ranks on the CPU talk through gloo'),
]

TOLERANCE = dict(rtol=1e-4, atol=2e-5)  # mmcv's layer takes float32 and float16 only
CHANNELS = 3


def on_ranks(ranks: int, work: Callable) -> list:
    """What ``work(rank, group)`` returns on each rank."""
    store = dist.HashStore()

    def start(rank: int) -> object:
        return work(rank, dist.ProcessGroupGloo(store, rank, ranks, timedelta(seconds=30)))

    with ThreadPoolExecutor(ranks) as pool:
        return list(pool.map(start, range(ranks)))


def layer_on(group: dist.ProcessGroup, seed: int, **settings) -> SyncBatchNorm:
    layer = SyncBatchNorm(CHANNELS, group=group, **settings)
    generator = torch.Generator().manual_seed(seed)
    for tensor in [layer.weight.data, layer.bias.data, layer.running_mean, layer.running_var]:
        tensor.uniform_(0.5, 2, generator=generator)
    return layer


def run(images: list[Tensor], grads: list[Tensor], seed: int, **settings) -> list[dict[str, Tensor]]:
    """Each rank's output, gradients and running statistics."""

    def work(rank: int, group: dist.ProcessGroup) -> dict[str, Tensor]:
        layer, image = layer_on(group, seed, **settings), images[rank].clone().requires_grad_()
        out = layer(image)
        out.backward(grads[rank])
        found = dict(out=out.detach(), image=image.grad, weight=layer.weight.grad, bias=layer.bias.grad)
        return found | dict(running_mean=layer.running_mean, running_var=layer.running_var)

    return on_ranks(len(images), work)


def joint(images: list[Tensor], grads: list[Tensor], seed: int, eps: float, momentum: float) -> list[dict[str, Tensor]]:
    """Batch normalization of all images as one batch, written out, and what autograd makes of it."""
    start = layer_on(dist.ProcessGroupGloo(dist.HashStore(), 0, 1, timedelta(seconds=30)), seed)
    weight, bias = (tensor.detach().double().requires_grad_() for tensor in (start.weight, start.bias))
    leaves = [image.double().requires_grad_() for image in images]
    outs: list[list[Tensor]] = [[] for _ in leaves]
    means, variances = [], []
    for c in range(CHANNELS):
        values = torch.cat([leaf[:, c].flatten() for leaf in leaves])
        mean = sum(values) / len(values)
        variance = sum((values - mean) ** 2) / len(values)
        means.append(mean.detach())
        variances.append(variance.detach() * len(values) / max(len(values) - 1, 1))
        for out, leaf in zip(outs, leaves):
            out.append((leaf[:, c] - mean) / (variance + eps) ** 0.5 * weight[c] + bias[c])
    stacked = [torch.stack(out, dim=1) for out in outs]
    sum((out * grad).sum() for out, grad in zip(stacked, grads)).backward()
    shared = dict(
        weight=weight.grad / len(images),  # DistributedDataParallel divides the sum, too
        bias=bias.grad / len(images),
        running_mean=(1 - momentum) * start.running_mean + momentum * torch.stack(means),
        running_var=(1 - momentum) * start.running_var + momentum * torch.stack(variances),
    )
    return [dict(out=out.detach(), image=leaf.grad, **shared) for out, leaf in zip(stacked, leaves)]


def check(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.to(found[name].dtype), **TOLERANCE, msg=lambda m, n=name: n + m)


@pytest.mark.parametrize('seed', range(20))
@pytest.mark.parametrize('ranks', [1, 2, 3])
def test_ranks_normalize_as_one_batch(ranks: int, seed: int) -> None:
    torch.manual_seed(seed)
    n, height, width = 1 + seed % 3, 1 + seed % 4, 2 + seed % 5
    images = [2 * torch.randn(n, CHANNELS, height, width) + rank for rank in range(ranks)]
    if seed % 2:
        images = [image.contiguous(memory_format=torch.channels_last) for image in images]
    grads = [torch.randn_like(image) for image in images]
    settings = dict(eps=[1e-5, 1e-2][seed % 2], momentum=[0.1, 0.7][seed // 2 % 2])
    found = run(images, grads, seed, **settings, stats_mode=['default', 'N'][seed // 4 % 2])
    for ours, expected in zip(found, joint(images, grads, seed, **settings)):
        check(ours, expected)


def test_one_image_of_one_pixel() -> None:
    image = [torch.randn(1, CHANNELS, 1, 1)]
    (found,) = run(image, [torch.ones_like(image[0])], 0, momentum=0.5)
    check(found, joint(image, [torch.ones_like(image[0])], 0, 1e-5, 0.5)[0])


def test_rank_without_images_does_not_count() -> None:
    images = [torch.randn(2, CHANNELS, 4, 5), torch.empty(0, CHANNELS, 4, 5)]
    found = run(images, [torch.ones_like(image) for image in images], 1, stats_mode='N')
    (expected,) = joint(images[:1], [torch.ones_like(images[0])], 1, 1e-5, 0.1)
    for name in ('out', 'running_mean'):
        torch.testing.assert_close(found[0][name], expected[name].float(), **TOLERANCE)
    torch.testing.assert_close(found[1]['running_mean'], found[0]['running_mean'])
    torch.testing.assert_close(found[1]['bias'], expected['bias'].float() / 2, **TOLERANCE)
    assert found[1]['out'].shape == images[1].shape


def test_no_images_at_all_change_no_statistics() -> None:
    images = [torch.empty(0, CHANNELS, 4, 5)] * 2
    before = layer_on(dist.ProcessGroupGloo(dist.HashStore(), 0, 1, timedelta(seconds=30)), 2)
    for found in run(images, images, 2, stats_mode='N'):
        assert torch.equal(found['running_mean'], before.running_mean)
        assert torch.equal(found['running_var'], before.running_var)
        assert not found['weight'].any()


@pytest.mark.parametrize('mode', ['default', 'N'])
def test_ranks_of_unequal_size(mode: str) -> None:
    images = [torch.randn(1, CHANNELS, 3, 4), 1 + torch.randn(3, CHANNELS, 3, 4)]
    found = run(images, [torch.ones_like(image) for image in images], 3, stats_mode=mode)
    shares = [1 / 2, 1 / 2] if mode == 'default' else [1 / 4, 3 / 4]  # N counts images, the other ranks
    layer = layer_on(dist.ProcessGroupGloo(dist.HashStore(), 0, 1, timedelta(seconds=30)), 3)
    mean = sum(share * image.mean((0, 2, 3)) for share, image in zip(shares, images)).view(-1, 1, 1)
    variance = sum(share * ((image - mean) ** 2).mean((0, 2, 3)) for share, image in zip(shares, images)).view(-1, 1, 1)
    for ours, image in zip(found, images):
        norm = (image - mean) / (variance + 1e-5).sqrt()
        expected = norm * layer.weight.view(-1, 1, 1) + layer.bias.view(-1, 1, 1)
        torch.testing.assert_close(ours['out'], expected.detach(), **TOLERANCE)


def test_without_weights_and_statistics() -> None:
    images = [torch.randn(2, CHANNELS, 3, 4) for _ in range(2)]

    def work(rank: int, group: dist.ProcessGroup) -> Tensor:
        with torch.no_grad():
            return SyncBatchNorm(CHANNELS, affine=False, track_running_stats=False, group=group)(images[rank])

    everything = torch.cat(images).double()
    mean, variance = everything.mean((0, 2, 3), keepdim=True), everything.var((0, 2, 3), correction=0, keepdim=True)
    expected = (everything - mean) / (variance + 1e-5).sqrt()
    torch.testing.assert_close(torch.cat(on_ranks(2, work)), expected.float(), **TOLERANCE)


def test_half_precision_has_single_precision_statistics() -> None:
    images = [(100 + torch.randn(4, CHANNELS, 8, 9)).half() for _ in range(2)]  # their sum is beyond float16
    grads = [torch.randn_like(image) for image in images]
    halves = run(images, grads, 4)
    singles = run([image.float() for image in images], [grad.float() for grad in grads], 4)
    for half, single in zip(halves, singles):
        assert half['out'].dtype == half['image'].dtype == torch.half
        torch.testing.assert_close(half['out'], single['out'].half(), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(half['image'], single['image'].half(), rtol=1e-3, atol=1e-3)
        for name in ('weight', 'bias', 'running_mean', 'running_var'):
            torch.testing.assert_close(half[name], single[name])
