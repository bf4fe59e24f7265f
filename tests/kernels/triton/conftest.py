"""Runs the Triton kernels on a GPU where there is one that they are for, and else in Triton's interpreter."""

import pytest
import torch

from mmconvnext.kernels import dispatch
from tests.conftest import HAS_GPU

# Without Triton there is nothing to import here
collect_ignore_glob = [] if dispatch.HAS_TRITON else ['test_*.py']


@pytest.fixture
def device() -> str:
    return 'cuda' if HAS_GPU else 'cpu'


@pytest.fixture
def exact(device: str) -> torch.dtype:
    """Dtype of the products in the narrow stages' kernels, which have no room for float32 on a GPU."""
    return torch.float16 if device == 'cuda' else torch.float32


@pytest.fixture(autouse=True)
def _float32_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """No layer that the kernels are compared with multiplies in TF32."""
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


@pytest.fixture(autouse=True)
def _interpreter(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if device == 'cuda':
        return
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder

    multiply = InterpreterBuilder.create_dot

    def create_dot(self, a, b, *rest):
        # The interpreter holds bfloat16 as integers and would multiply those
        a, b = (self.cast_impl(t, tl.float32) if t.dtype.scalar.is_bf16() else t for t in (a, b))
        return multiply(self, a, b, *rest)

    monkeypatch.setattr(InterpreterBuilder, 'create_dot', create_dot)
    monkeypatch.setenv('TRITON_INTERPRET', '1')
    monkeypatch.setattr(dispatch, 'INTERPRETED', True)
