import re

import pytest
import torch

from mmconvnext.backbones import ARCHS, ConvNeXt
from mmconvnext.checkpoints import MANIFEST
from mmconvnext.checkpoints.__main__ import inspect, table
from mmconvnext.checkpoints.manifest import find
from mmconvnext.checkpoints.recognise import recognise

SERVER = 'https://dl.fbaipublicfiles.com/convnext/'

# Addresses written out, one of each family
ADDRESSES = {
    'convnext_tiny.in1k': 'convnext_tiny_1k_224.pth',
    'convnext_large.in1k_ema': 'convnext_large_1k_224_ema.pth',
    'convnext_xlarge.in22k': 'convnext_xlarge_22k_224.pth',
    'convnext_xlarge.in22k_ft_in1k_384': 'convnext_xlarge_22k_1k_384_ema.pth',
    'convnextv2_atto.fcmae': 'convnextv2/pt_only/convnextv2_atto_1k_224_fcmae.pt',
    'convnextv2_huge.fcmae_ft_in1k': 'convnextv2/im1k/convnextv2_huge_1k_224_ema.pt',
    'convnextv2_nano.fcmae_ft_in22k_in1k': 'convnextv2/im22k/convnextv2_nano_22k_224_ema.pt',
    'convnextv2_huge.fcmae_ft_in22k_in1k_512': 'convnextv2/im22k/convnextv2_huge_22k_512_ema.pt',
    'mask_rcnn_convnext_t_3x': 'coco/mask_rcnn_convnext_tiny_1k_3x.pth',
    'cascade_convnext_xl_in22k_3x': 'coco/cascade_mask_rcnn_convnext_xlarge_22k_3x.pth',
    'upernet_convnext_s_160k': 'ade20k/upernet_convnext_small_1k_512x512.pth',
    'upernet_convnext_b_in22k_640_160k': 'ade20k/upernet_convnext_base_22k_640x640.pth',
}


@pytest.mark.parametrize(('name', 'path'), ADDRESSES.items(), ids=str)
def test_addresses(name, path):
    assert MANIFEST[name].url == SERVER + path
    assert find(SERVER + path) is find(f'somewhere/{path.split("/")[-1]}') is MANIFEST[name]


def test_entries_are_consistent():
    files = [weights.file for weights in MANIFEST.values()]
    assert len(files) == len(set(files))
    for name, weights in MANIFEST.items():
        assert weights.name == name
        assert weights.arch in ARCHS
        assert weights.licence == (
            'DINOv3 License' if 'dinov3' in name else 'CC-BY-NC 4.0' if weights.version == 2 else 'MIT'
        )
        assert (weights.url is None) == ('dinov3' in name)
        assert ('v2' in weights.file) == (weights.version == 2)
        assert re.search(rf'_{weights.arch}_', weights.file)
        assert weights.side is None or str(weights.side) in weights.file
        assert all(0 < value < 100 for value in weights.published.values())


def test_every_published_file_is_there():
    counts = {'fcmae': 8, 'fcmae_ft_in1k': 8, 'in1k': 4, 'in1k_ema': 4, 'in22k': 5, 'dinov3_lvd1689m': 4}
    for tag, count in counts.items():
        assert sum(name.endswith(f'.{tag}') for name in MANIFEST) == count
    assert sum('fcmae_ft_in22k' in name for name in MANIFEST) == 10
    assert sum('_convnext_' in name for name in MANIFEST) == 13  # detectors and segmentors


@pytest.mark.parametrize(
    ('checkpoint', 'version', 'arch', 'licence'),
    [
        ('hf-hub:timm/convnextv2_tiny.fcmae_ft_in1k', 2, 'tiny', 'CC-BY-NC 4.0'),
        ('hf-hub:timm/convnext_tiny.dinov3_lvd1689m@main', 1, 'tiny', 'DINOv3 License'),
        ('hf-hub:facebook/convnextv2-tiny-1k-224', 2, 'tiny', 'probably CC-BY-NC 4.0 (check)'),
        ('hf-hub:org/convnext-tiny', 1, 'tiny', None),
        ('work_dirs/mask_rcnn_convnext_t_3x', 1, 'tiny', None),
    ],
)
def test_licences_of_copies(checkpoint, version, arch, licence):
    with torch.device('meta'):
        found = recognise(ConvNeXt(arch, version=version).state_dict(), checkpoint)
    assert found.licence == licence


def test_table_has_a_line_for_each():
    lines = table().splitlines()
    assert len(lines) == len(MANIFEST) + 1
    line = next(line for line in lines if line.startswith('convnext_tiny.in1k_ema'))
    assert re.split(r'\s{2,}', line)[1:6] == ['V1 tiny', 'ImageNet-1k', '224', 'top-1 82.1', 'MIT']


def test_inspect(save, toy):
    state = {f'backbone.{n}': t for n, t in ConvNeXt(toy, version=2, in_channels=4).state_dict().items()}
    lines = dict(
        line.split(maxsplit=1) for line in inspect(save({'state_dict': state | {'neck.x': torch.ones(1)}})).splitlines()
    )
    assert lines['names'] == 'official, under backbone.'
    assert lines['network'].startswith('V2 of depths (1, 2, 4, 1)')
    assert lines['settings'] == 'version=2, in_channels=4'
    assert lines['tensors'] == '104: downsample_layers 16, stages 80, norm0 2, norm1 2, norm2 2, norm3 2'
    assert lines['values'] == '0.0 M of float32'
    assert lines['beside'] == 'neck 1'
    assert lines['licence'] == 'unknown'
