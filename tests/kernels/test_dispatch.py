"""Which path computes a block: each thread chooses for itself, and activation checkpointing keeps the choice."""

import threading

import pytest
import torch

from mmconvnext import kernels
from mmconvnext.backbones.convnext import Block, ConvNeXt, Stage
from mmconvnext.errors import UserError
from mmconvnext.kernels import dispatch


def chosen() -> tuple[str, str | None]:
    """Path and memory by which a block would be computed here, on the CPU."""
    kernel = dispatch.kernel_for(torch.zeros(1, 8, 2, 3), Block(8, 0.0, 1.0, False).kernel_tensors)
    return ('reference', None) if kernel is None else ('cpu', kernel.keywords['memory'])


def test_recomputation_takes_the_path_of_the_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    """With use() around the forward alone, the other path computed again, and PyTorch raised CheckpointError."""
    calls = []
    kernel = dispatch.cpu_block
    monkeypatch.setattr(dispatch, 'cpu_block', lambda *args, **kwargs: calls.append(1) or kernel(*args, **kwargs))
    stage = Stage([Block(24, 0.0, 1.0, False)], with_cp=True)
    x = torch.randn(2, 24, 8, 12, requires_grad=True)
    with kernels.use('reference'):
        out = stage(x)
    out.sum().backward()
    assert calls == []
    grad, x.grad = x.grad, None
    stage(x).sum().backward()
    assert len(calls) == 2  # forward, and again
    torch.testing.assert_close(x.grad, grad)
    out = stage(x)
    with kernels.use('reference'):
        out.sum().backward()
    assert len(calls) == 4


def test_threads_choose_for_themselves() -> None:
    both_inside, seen = threading.Barrier(2, timeout=10), {}

    def run(path: str, memory: str) -> None:
        with kernels.use(path, memory):
            both_inside.wait()
            seen[path] = chosen()
            both_inside.wait()

    threads = [threading.Thread(target=run, args=args) for args in (('reference', 'speed'), ('auto', 'min'))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {'reference': ('reference', None), 'auto': ('cpu', 'min')}
    assert chosen() == ('cpu', 'balanced')


def test_a_choice_ends_with_its_block_of_code() -> None:
    with kernels.use('auto', 'min'):
        with pytest.raises(RuntimeError), kernels.use('reference', 'speed'):
            raise RuntimeError
        with kernels.use('auto'):
            assert chosen() == ('cpu', 'min')
    assert chosen() == ('cpu', 'balanced')


@pytest.mark.parametrize(('choice', 'fact'), [(('fastest',), 'path'), (('auto', 'fastest'), 'memory')])
def test_an_unknown_choice_is_refused(choice: tuple[str, ...], fact: str) -> None:
    with pytest.raises(UserError) as error, kernels.use(*choice):
        pass
    assert error.value.facts[fact] == 'fastest'


@pytest.mark.parametrize(
    ('environment', 'variable'),
    [(('fastest', 'balanced'), 'MMCONVNEXT_KERNELS'), (('auto', 'none'), 'MMCONVNEXT_MEMORY')],
)
def test_a_wrong_environment_variable_is_an_error_of_the_user(
    environment: tuple[str, str], variable: str, toy: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, 'FROM_ENVIRONMENT', dispatch.Choice(*environment))
    with pytest.raises(UserError) as error:
        ConvNeXt(toy)
    assert error.value.facts['variable'] == variable
