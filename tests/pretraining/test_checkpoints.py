"""Pre-trained files in both directions: of this package, of the authors' release, and of their sparse code."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mmconvnext.backbones import ConvNeXt
from mmconvnext.checkpoints import load_pretrained
from mmconvnext.checkpoints.convert import convert_file
from mmconvnext.pretraining import FCMAE

ARCH = dict(depths=(1, 1, 2, 1), widths=(4, 6, 8, 10))


@pytest.fixture
def trained() -> FCMAE:
    """As after a training: no parameter has its initial value."""
    model = FCMAE(dict(type='ConvNeXt', version=2, arch=ARCH), decoder_width=16)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model


def minkowski(model: FCMAE) -> dict[str, Tensor]:
    """The names and layouts of the authors' sparse code, written from the table of their classes."""
    raw = {}
    for name, tensor in model.state_dict().items():
        parts = name.split('.')
        if parts[0] != 'encoder' or parts[1:3] == ['downsample_layers', '0']:
            raw[name] = tensor
        elif parts[1] == 'downsample_layers' and parts[3] == '0':
            raw[f'encoder.downsample_layers.{parts[2]}.0.ln.{parts[4]}'] = tensor
        elif parts[1] == 'downsample_layers':
            # (out, in, y, x) -> (x * 2 + y, in, out)
            kernel = tensor.permute(3, 2, 1, 0).reshape(4, *tensor.shape[1::-1]) if tensor.ndim == 4 else tensor[None]
            raw[f'encoder.downsample_layers.{parts[2]}.1.{"kernel" if tensor.ndim == 4 else "bias"}'] = kernel
        elif 'dwconv' in parts:
            # (C, 1, y, x) -> (x * 7 + y, C)
            kernel = tensor[:, 0].permute(2, 1, 0).reshape(49, -1) if tensor.ndim == 4 else tensor[None]
            raw[name.replace('weight', 'kernel')] = kernel
        elif 'grn' in parts:
            raw[name] = tensor[None]
        else:
            layer = 'ln' if parts[4] == 'norm' else 'linear'
            raw['.'.join([*parts[:5], layer, parts[5]])] = tensor
    return raw


def check(backbone: ConvNeXt, trained: FCMAE) -> None:
    state = {name: t for name, t in backbone.state_dict().items() if not name.startswith('norm')}
    assert state.keys() == trained.encoder.state_dict().keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, trained.encoder.state_dict()[name]), name


def test_a_finished_pre_training_is_a_checkpoint_of_a_backbone(trained: FCMAE, tmp_path: Path) -> None:
    torch.save(dict(meta={}, state_dict=trained.state_dict()), tmp_path / 'epoch_1600.pth')
    backbone = ConvNeXt(ARCH, version=2)
    report = load_pretrained(backbone, tmp_path / 'epoch_1600.pth')
    check(backbone, trained)
    count = len(trained.encoder.state_dict())
    assert f'{count} of {count}' in report


def test_a_raw_run_of_the_sparse_code_loads_with_its_axes_swapped(trained: FCMAE, tmp_path: Path) -> None:
    torch.save(dict(model=minkowski(trained), optimizer={}, epoch=799), tmp_path / 'checkpoint-799.pth')
    backbone = ConvNeXt(ARCH, version=2)
    load_pretrained(backbone, tmp_path / 'checkpoint-799.pth')
    check(backbone, trained)


def test_released_weights_start_a_pre_training(trained: FCMAE, tmp_path: Path) -> None:
    """They have the encoder only, without a prefix, and GRN as (1, 4C)."""
    released = {
        name: tensor[None] if '.grn.' in name else tensor for name, tensor in trained.encoder.state_dict().items()
    }
    torch.save(dict(model=released), tmp_path / 'convnextv2_own_1k_224_fcmae.pt')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'convnextv2_own_1k_224_fcmae.pt'))
    model = FCMAE(dict(type='ConvNeXt', version=2, arch=ARCH, init_cfg=init_cfg), decoder_width=16)
    model.init_weights()
    for name, tensor in model.encoder.state_dict().items():
        assert torch.equal(tensor, trained.encoder.state_dict()[name]), name


def test_a_raw_run_is_written_as_the_sparse_code_has_it(trained: FCMAE, tmp_path: Path) -> None:
    torch.save(dict(state_dict=trained.state_dict()), tmp_path / 'epoch_1600.pth')
    convert_file(str(tmp_path / 'epoch_1600.pth'), tmp_path / 'raw.pth', 'fcmae')
    written = torch.load(tmp_path / 'raw.pth', weights_only=True)['model']
    expected = {name: t for name, t in minkowski(trained).items() if name.startswith('encoder.')}
    assert written.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(written[name], tensor), name
