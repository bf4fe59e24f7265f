"""Which path computes a block: a choice of each thread, which activation checkpointing keeps."""

import threading

import pytest
import torch

from mmconvnext import kernels
from mmconvnext.backbones.convnext import Block, ConvNeXt, Stage
from mmconvnext.errors import UserError
from mmconvnext.kernels import choice
from mmconvnext.kernels.cpu import block as cpu


@pytest.fixture
def fused(monkeypatch):
    """Notes each time that the fused path computes a block."""
    calls = []
    monkeypatch.setattr(cpu, 'block', lambda x, *rest, original=cpu.block: calls.append(1) or original(x, *rest))
    return calls


def test_recomputation_takes_the_path_of_the_forward_pass(fused):
    """With use() around the forward pass alone, the other path computed again, and PyTorch raised CheckpointError."""
    stage = Stage([Block(24, 0.0, 1.0, False)], with_cp=True)
    x = torch.randn(2, 24, 8, 12, requires_grad=True)
    with kernels.use('reference'):
        out = stage(x)
    out.sum().backward()
    assert fused == []
    grad, x.grad = x.grad, None
    stage(x).sum().backward()
    assert len(fused) == 2  # forward, and again
    torch.testing.assert_close(x.grad, grad)
    out = stage(x)
    with kernels.use('reference'):
        out.sum().backward()
    assert len(fused) == 4


def test_threads_choose_for_themselves():
    started, done = threading.Barrier(2), threading.Barrier(2)
    seen = {}

    def run(path, memory):
        with kernels.use(path, memory):
            started.wait(10)  # both are inside
            seen[path] = choice._CHOICE.get()
            done.wait(10)

    threads = [threading.Thread(target=run, args=args) for args in (('reference', 'min'), ('triton', 'speed'))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {'reference': ('reference', 'min'), 'triton': ('triton', 'speed')}
    assert choice._CHOICE.get() == ('auto', 'balanced')


def test_a_choice_ends_with_its_block_of_code():
    with kernels.use('auto', 'min'):
        with pytest.raises(RuntimeError), kernels.use('reference', 'speed'):
            raise RuntimeError
        assert kernels.choice.memory() == 'min'
        with kernels.use('reference'):
            assert kernels.choice.memory() == 'min'
    assert kernels.choice.memory() == 'balanced'
    with pytest.raises(UserError, match='fastest'), kernels.use('auto', 'fastest'):
        pass


@pytest.mark.parametrize(
    ('environment', 'variable'),
    [(('fastest', 'balanced'), 'MMCONVNEXT_KERNELS'), (('auto', 'none'), 'MMCONVNEXT_MEMORY')],
)
def test_a_wrong_choice_of_the_environment_is_the_users_error(monkeypatch, toy, environment, variable):
    monkeypatch.setattr(choice, 'OF_THE_PROCESS', choice.Choice(*environment))
    with pytest.raises(UserError) as error:
        ConvNeXt(toy)
    assert error.value.facts['variable'] == variable
