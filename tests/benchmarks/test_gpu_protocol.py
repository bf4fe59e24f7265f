"""The GPU benchmarks, without a GPU: all but what only one can do runs here."""

import json
import sys

import pytest
import torch

from benchmarks import detector, gpu, report, timing
from tests.conftest import TOY

MACHINE = {'gpu': 'GPU', 'driver': '1', 'clocks and power limit': '', 'torch': '2', 'cudnn': 9, 'triton': '3'}


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Runs a benchmark, and returns its JSON as the page of speed has read it."""

    def interleaved(runs, rounds, steps):
        for run in runs.values():
            run()
        return {name: timing.Time(1.0, 0.0) for name in runs}

    monkeypatch.setattr(gpu, 'DEVICE', 'cpu')
    monkeypatch.setattr(gpu, 'machine', lambda: MACHINE)
    monkeypatch.setattr(gpu, 'captured', lambda run: run)
    monkeypatch.setattr(gpu, 'peak', lambda run: 2**20)
    monkeypatch.setattr(gpu, 'launches', lambda run: {'launches': 1, 'gpu_seconds': 1.0, 'kinds': {'product': 1.0}})
    monkeypatch.setattr(gpu, 'interleaved', interleaved)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda: None)
    monkeypatch.setattr(report, 'RESULTS', tmp_path)

    def run(module, *arguments):
        monkeypatch.setattr(sys, 'argv', ['benchmark', *arguments, '--out', str(tmp_path / 'gpu.json')])
        with torch._dynamo.config.patch(recompile_limit=8):
            module.main()
        assert report.page()
        return json.loads((tmp_path / 'gpu.json').read_text())

    return run


@pytest.mark.parametrize('version', ['1', '2'])
def test_every_contender_is_measured_alone_and_as_a_cuda_graph(version, results, capsys) -> None:
    found = results(gpu, '--arch', 'atto', '--version', version, '--sizes', '32x64', '--batch', '1', '--no-compile')
    assert [result['mode'] for result in found] == ['inference', 'training']
    for result in found:
        assert result['input'] == [1, 3, 32, 64]
        names = set(result['rows'])
        alone = {name for name in names if 'CUDA graph' not in name}
        assert names - alone == {f'{name}, CUDA graph' for name in alone}
        assert {"authors' block", 'timm', 'mmconvnext, reference path'} <= alone
    assert {f'mmconvnext, triton, {memory}' for memory in ('speed', 'balanced', 'min')} <= set(found[1]['rows'])
    assert all('saved' in row for name, row in found[1]['rows'].items() if 'CUDA graph' not in name)


def test_what_is_compiled(monkeypatch) -> None:
    monkeypatch.setattr(gpu, 'DEVICE', 'cpu')
    monkeypatch.setattr(sys, 'argv', ['benchmark', '--arch', 'atto'])
    names = set(gpu.contenders(gpu.parse_args(), 'training', torch.float32))
    modes = ('default', 'max-autotune', 'reduce-overhead')
    whose = ('timm', 'torchvision', 'mmconvnext, reference', 'mmconvnext, triton')
    assert {f'{name}, torch.compile, {mode}' for name in whose for mode in modes} <= names


def test_kinds_of_kernels() -> None:
    kinds = {
        '_depthwise_weight_gradient': 'depthwise',
        'void wgrad2d_c1_k1_nhwc_kernel<__nv_bfloat16, 7, 7>': 'depthwise',
        '_norm_mlp_backward': 'LayerNorm + MLP',
        'nvjet_tst_128x256_64x4_2x1_v_bz_coopA_TNT': 'product',
        'sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32': 'product',
        'void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<c10::BFloat16, float>': 'LayerNorm',
        'triton_poi_fused_gelu_3': 'elementwise',
        'triton_per_fused_native_layer_norm_0': 'LayerNorm',
        'void at::native::reduce_kernel<512, 1>': 'reduction',
        'Memcpy DtoD (Device -> Device)': 'copy or cast',
        'spin': 'other',
    }
    assert {name: gpu.kind_of(name) for name in kinds} == kinds


# Products of bfloat16 take minutes on a CPU without instructions for them, unless a model is narrow
BACKBONE = dict(arch=dict(_delete_=True, **TOY))
RCNN = dict(
    backbone=BACKBONE,
    neck=dict(in_channels=TOY['widths'], out_channels=8),
    rpn_head=dict(in_channels=8, feat_channels=8),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=8),
        bbox_head=dict(in_channels=8, fc_out_channels=16),
        mask_roi_extractor=dict(out_channels=8),
        mask_head=dict(in_channels=8, conv_out_channels=8),
    ),
)
UPERNET = dict(
    backbone=BACKBONE,
    decode_head=dict(in_channels=TOY['widths'], channels=8),
    auxiliary_head=dict(in_channels=TOY['widths'][2], channels=8),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('base', 'model', 'device', 'precision'),
    [
        ('detection/mask_rcnn_convnext_t_3x.py', RCNN, 'cpu', 'fp32'),
        ('detection/mask_rcnn_convnext_t_3x.py', RCNN, 'cuda', 'amp-bf16'),
        ('segmentation/upernet_convnext_t_160k.py', UPERNET, 'cuda', 'amp-bf16'),
    ],
)
def test_a_training_step_of_several_sizes(base, model, device, precision, root, results, tmp_path, monkeypatch) -> None:
    config = tmp_path / 'toy.py'
    config.write_text(f'_base_ = {str(root / "configs" / base)!r}\nmodel = {model!r}\n')
    monkeypatch.setattr(detector, 'PEERS', [peer for peer in detector.PEERS if peer.name == 'timm'])
    monkeypatch.setattr(timing, 'machine', lambda: MACHINE)
    adapt = detector.machine.adapt

    def without_sync_bn(cfg) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(torch.cuda, 'is_available', lambda: False)
            adapt(cfg)

    monkeypatch.setattr(detector.machine, 'adapt', without_sync_bn)
    (result,) = results(
        detector,
        str(config),
        *('--sizes', '64x96', '96x64', '--modes', 'training', '--rounds', '1', '--batch', '2'),
        *('--device', device, '--precision', precision),
    )
    assert (result['input'], result['dtype']) == ([2, 3, '64/96', '96/64'], precision)
    triton = {f'mmconvnext, triton, {memory}' for memory in ('speed', 'balanced', 'min')}
    assert set(result['rows']) == {'mmconvnext', 'mmconvnext, reference path', 'timm'} | (
        triton if device == 'cuda' else set()
    )
