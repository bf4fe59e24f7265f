"""Maps stay in channels-last memory on their way from the backbone to the heads and back, without a copy."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn
from torch.profiler import profile

from benchmarks.detector import batch
from mmconvnext.config.machine import adapt
from mmconvnext.config.prepare import load_config
from mmconvnext.config_tree import walk
from tests.conftest import ROOT

# No other tensor has the shape of one of the backbone's maps
ARCH = dict(depths=(1, 1, 1, 1), widths=(8, 16, 40, 72))
SMALL = dict(nms_pre=50, max_per_img=20, num=16, fc_out_channels=8, channels=24)


@pytest.fixture
def step(monkeypatch):
    """Trains a step of a config's model with a toy backbone.

    Returns the model's maps by the name of what gives them, and the shapes of the tensors copied for their layout.
    """
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)  # the models stay on the CPU

    def run(config: str) -> tuple[dict[str, Tensor], list[list[int]]]:
        cfg = load_config(ROOT / 'configs' / config, {'model.backbone.arch': ConfigDict(ARCH)})
        init_default_scope(cfg.default_scope)
        cfg.launcher = 'none'
        adapt(cfg)
        cfg.model.backbone.update(init_cfg=None, drop_path_rate=0.0)
        for node in walk(cfg.model):
            node.update({key: value for key, value in SMALL.items() if key in node})
        model = MODELS.build(cfg.model).train()
        inputs, samples = batch(cfg, 2, 64, 96, 'cpu')
        maps: dict[str, Tensor] = {}

        def keep(name: str):
            def hook(module: nn.Module, args: tuple, out: Tensor | tuple) -> None:
                outs = out if isinstance(out, tuple) else (out,)
                maps.update({f'{name}[{i}]': tensor for i, tensor in enumerate(outs)})

            return hook

        for name, module in model.named_modules():
            if name in ('backbone', 'neck') or isinstance(module, nn.Conv2d):
                module.register_forward_hook(keep(name))
        with profile(record_shapes=True) as profiled:
            loss, _ = model.parse_losses(model.loss(inputs, samples))
            loss.backward()
        return maps, [event.input_shapes[0] for event in profiled.events() if event.name == 'aten::clone']

    return run


def shapes(maps: dict[str, Tensor], *names: str) -> list[list[int]]:
    """Those of the maps whose names begin so."""
    return [list(tensor.shape) for name, tensor in maps.items() if name.startswith(names)]


def not_channels_last(maps: dict[str, Tensor], *names: str) -> list[str]:
    """The names of the maps whose names begin so and that lie otherwise in memory."""
    chosen = {name: tensor for name, tensor in maps.items() if name.startswith(names)}
    assert chosen
    return [name for name, t in chosen.items() if not t.is_contiguous(memory_format=torch.channels_last)]


def test_mask_rcnn(step) -> None:
    maps, copied = step('detection/mask_rcnn_convnext_t_3x.py')
    assert not_channels_last(maps, 'backbone', 'neck', 'rpn_head') == []
    assert [2, 3, 64, 96] in copied  # the image, which is not channels-last
    # Of the neck's maps the one that the RoIs lie on: MMDetection's own 0 * map.sum() costs the others a copy each
    assert [shape for shape in shapes(maps, 'backbone', 'neck[0]') if shape in copied] == []


def test_upernet(step) -> None:
    maps, copied = step('segmentation/upernet_convnext_t_160k.py')
    assert [shape for shape in shapes(maps, 'backbone') if shape in copied] == []
    assert not_channels_last(maps, 'backbone', 'decode_head.lateral_convs', 'auxiliary_head') == []
