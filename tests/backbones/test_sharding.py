from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from mmconvnext import ConvNeXt


@pytest.fixture
def alone() -> Iterator[None]:
    """A group of one process."""
    dist.init_process_group('gloo', store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures('alone')
@pytest.mark.filterwarnings('ignore:FSDP2-wrapped module')
def test_contiguous_parameters_are_sharded_and_give_the_same_gradients(toy):
    model = ConvNeXt(arch=toy, drop_path_rate=0.0)
    x = torch.randn(2, 3, 64, 96)
    model(x)[-1].square().mean().backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.to(memory_format=torch.contiguous_format)
    fully_shard(model, mesh=init_device_mesh('cpu', (1,)))
    model(x)[-1].square().mean().backward()
    found = {name: p.grad.full_tensor() for name, p in model.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    for name, grad in expected.items():
        torch.testing.assert_close(found[name], grad)
