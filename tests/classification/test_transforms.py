"""What a recipe evaluates is, pixel by pixel, what timm evaluates the published weights on, and the authors' code."""

import copy
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torchvision.transforms import v2

from mmconvnext.classification import LoadPILImage, TimmTransform
from mmconvnext.classification.transforms import posterize
from mmconvnext.config_tree import walk
from mmconvnext.errors import UserError
from tests.conftest import ROOT

CONFIGS = sorted((ROOT / 'configs/classification').glob('*.py'))
LETTERS = dict(a='atto', f='femto', p='pico', n='nano', t='tiny', s='small', b='base', l='large', xl='xlarge', h='huge')


def timms_name(path: Path) -> str:
    """Of the weights that a recipe gives, such as ``convnextv2_nano.fcmae_ft_in22k_in1k_384``."""
    net, letter, *tag, _ = path.stem.split('_')
    return f'{net}_{LETTERS[letter]}.{"" if tag[0] == "fcmae" else "fb_"}{"_".join(tag)}'


@cache
def _read(path: Path) -> Config:
    return Config.fromfile(path)


def read(path: Path) -> Config:
    """A recipe, which is read from its files once."""
    return copy.deepcopy(_read(path))


def evaluated(path: Path, photograph: Path) -> torch.Tensor:
    cfg = read(path)
    init_default_scope(cfg.default_scope)
    pipeline = Compose(cfg.test_dataloader.dataset.pipeline)
    return pipeline(dict(img_path=str(photograph), gt_label=0))['inputs']


@pytest.mark.parametrize('path', [p for p in CONFIGS if '_in22k_90e' not in p.stem], ids=lambda path: path.stem)
def test_every_recipe_evaluates_the_pixels_of_the_published_accuracy(path: Path, photograph: Path) -> None:
    seen = evaluated(path, photograph)
    side = 384 if '_384_' in path.stem else 512 if '_512_' in path.stem else 224
    image = Image.open(photograph).convert('RGB')
    name = timms_name(path)
    if name in timm.list_pretrained():
        settings = resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
        expected = create_transform(**settings, is_training=False)(image)
        assert torch.equal(seen, expected)
    else:  # timm does not have the weights that the authors fine-tuned at 384 pixels from ImageNet-1K alone
        assert '_in1k_384_' in path.stem
        assert 'in22k' not in path.stem
    # datasets.py of the authors' code
    resized = v2.Resize((side, side) if side >= 384 else int(side / 0.875), v2.InterpolationMode.BICUBIC)(image)
    pixels = torch.from_numpy(np.array(v2.CenterCrop(side)(resized))).permute(2, 0, 1) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(seen, (pixels - mean[:, None, None]) / std[:, None, None])


def test_the_names_that_were_compared_are_timms() -> None:
    names = {timms_name(path) for path in CONFIGS} & set(timm.list_pretrained())
    assert len(names) == 4 + 5 + 5 + 8 + 4 + 4 + 2 + 5  # and of ImageNet-22K, which nobody evaluates


@pytest.mark.parametrize('mode', ['CMYK', 'L', 'P', 'RGBA'])
def test_images_of_every_kind_become_rgb(mode: str, photograph: Path, tmp_path: Path) -> None:
    path = tmp_path / ('image.jpg' if mode == 'CMYK' else 'image.png')
    Image.open(photograph).resize((96, 64)).convert(mode).save(path)
    image = LoadPILImage().transform(dict(img_path=str(path)))['img']
    assert (image.mode, image.size) == ('RGB', (96, 64))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_every_recipe_augments_as_the_papers_say(path: Path) -> None:
    """arXiv 2201.03545, table 5; arXiv 2301.00808, tables 9 to 13: RandAugment (9, 0.5), erasing 0.25."""
    cfg = read(path)
    (given,) = [node for node in walk(cfg.train_dataloader.dataset.pipeline) if node.type == 'TimmTransform']
    side = 384 if '_384_' in path.stem else 512 if '_512_' in path.stem else 224
    assert given == dict(
        type='TimmTransform',
        input_size=side,
        is_training=True,
        interpolation='bicubic',
        auto_augment='rand-m9-mstd0.5-inc1',
        re_prob=0.25,
        re_mode='pixel',
        re_count=1,
    )


def test_no_image_stops_a_training_that_is_posterized_to_0_bits(photograph: Path) -> None:
    """Pillow 13 refuses 0 bits, for which timm's RandAugment asks at its largest magnitude."""
    image = Image.open(photograph).resize((96, 64))
    for name in ('PosterizeIncreasing', 'Posterize'):
        transform = TimmTransform(
            input_size=(64, 96), is_training=True, auto_augment='rand-m10-n8-p1.0-inc1', re_prob=0.25, re_mode='pixel'
        )
        operations = [op for step in transform.view.transforms for op in getattr(step, 'ops', ())]
        found = [op for op in operations if op.name.startswith(name)]
        assert found
        for op in found:
            assert np.array(op(image)).max() == 0
    assert np.array_equal(posterize(image, 8), image)
    assert np.array_equal(posterize(image, 3), np.array(image) & 0b11100000)


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(UserError, match=r'mmconvnext\[imagenet\]') as caught:
        TimmTransform(input_size=224)
    assert caught.value.facts['package'] == 'timm'


def test_arguments_that_timm_does_not_have_are_refused() -> None:
    with pytest.raises(UserError) as caught:
        TimmTransform(input_size=224, crop_pc=0.875)
    assert caught.value.facts == dict(argument='crop_pc', near='crop_pct')
