"""Every form of export that docs/getting_started.md claims, at a size and a batch other than the example's."""

import io
import pickle
import warnings

import pytest
import torch
from torch import Tensor, nn

from mmconvnext import ConvNeXt
from mmconvnext.errors import UserError

EXAMPLE, OTHER = (2, 3, 96, 70), (1, 3, 64, 96)


@pytest.fixture(params=[1, 2], ids=['v1', 'v2'])
def model(toy, request) -> ConvNeXt:
    model = ConvNeXt(toy, request.param, out_indices=(0, 2, 3), drop_path_rate=0.3).eval().requires_grad_(False)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


def assert_equal(exported, model: ConvNeXt, sizes=(EXAMPLE, OTHER)) -> None:
    for size in sizes:
        x = torch.randn(size)
        for ours, theirs in zip(model(x), exported(x), strict=True):
            torch.testing.assert_close(theirs, ours)


def dynamic_shapes() -> tuple[dict, ...]:
    dim = torch.export.Dim
    return ({0: dim('batch'), 2: dim('height', min=64, max=4096), 3: dim('width', min=64, max=4096)},)


@pytest.mark.slow
def test_torch_export_of_a_fixed_size(model):
    assert_equal(torch.export.export(model, (torch.randn(EXAMPLE),)).module(), model, sizes=(EXAMPLE,))


@pytest.mark.slow
def test_torch_export_of_any_size(model):
    program = torch.export.export(model, (torch.randn(EXAMPLE),), dynamic_shapes=dynamic_shapes())
    assert_equal(program.module(), model)


@pytest.mark.slow
def test_torch_compile_without_a_graph_break(model):
    assert_equal(torch.compile(model, backend='eager', fullgraph=True, dynamic=True), model)


def test_jit_trace_without_a_warning_of_constants(model):
    with warnings.catch_warnings():
        warnings.simplefilter('error', torch.jit.TracerWarning)
        traced = torch.jit.trace(model, torch.randn(EXAMPLE))
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer)
    buffer.seek(0)
    assert_equal(torch.jit.load(buffer), model)


def test_symbolic_trace_keeps_the_check_of_the_input(model):
    graph = torch.fx.symbolic_trace(model)
    assert_equal(graph, model)
    assert_equal(pickle.loads(pickle.dumps(graph)), model)
    with pytest.raises(UserError) as error:
        graph(torch.randn(1, 3, 31, 96))
    assert error.value.facts['stride'] == 32


ONNX = 'ONNX is what a user may export to; the tests do not install its packages'


@pytest.mark.slow
@pytest.mark.parametrize('dynamo', [True, False])
def test_onnx_of_any_size(model, dynamo, tmp_path):
    pytest.importorskip('onnx', reason=ONNX)
    runtime = pytest.importorskip('onnxruntime', reason=ONNX)
    if dynamo:
        pytest.importorskip('onnxscript', reason=ONNX)
        options = dict(dynamic_shapes=dynamic_shapes())
    else:
        options = dict(input_names=['x'], dynamic_axes={'x': {0: 'batch', 2: 'height', 3: 'width'}})
    path = str(tmp_path / 'model.onnx')
    torch.onnx.export(model, (torch.randn(EXAMPLE),), path, dynamo=dynamo, **options)
    session = runtime.InferenceSession(path, providers=['CPUExecutionProvider'])

    def run(x: Tensor) -> list[Tensor]:
        return [torch.from_numpy(out) for out in session.run(None, {session.get_inputs()[0].name: x.numpy()})]

    assert_equal(run, model)
