"""Counts parameters and multiply-adds of a whole detector or segmentor, as the papers count them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import BaseDataElement
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmconvnext.config.backbone import find_backbone, is_openmmlabs

# Tables 3 and 4 of arXiv 2201.03545: one image of this width and height; a detector's heads see this many boxes
DETECTION_SIZE = (1280, 800)
PROPOSALS = 1000
DETECTIONS = 100


@dataclass(frozen=True)
class Complexity:
    """What a model costs.

    Args:
        params: Number of parameters.
        macs: Multiply-adds of convolutions and matrix products for one image; the papers call them FLOPs.
    """

    params: int
    macs: int


def measure(cfg: Config) -> Complexity:
    """Counts a config's model, on the meta device where possible.

    A detector is counted on 1280x800. Its box heads get 1,000 proposals and its mask heads 100 detections, in each
    stage of a cascade. A segmentor is counted on an image as high as its crop and four times as wide: 2048x512 for a
    crop of 512. The auxiliary head counts as parameters, but not as multiply-adds, since it is dropped after training.
    Deformable attention counts without its bilinear sampling.
    """
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    is_detr = 'positional_encoding' in cfg.model
    # OpenMMLab's Swin computes its rates of stochastic depth with tensors, so it is built on the CPU
    with torch.device('cpu' if is_detr or is_openmmlabs(find_backbone(cfg.model)) else 'meta'):
        model = MODELS.build(cfg.model).eval()
    # A DETR computes its grids of reference points on the CPU, whatever the device
    with torch.device('cpu' if is_detr else 'meta') as device:
        model.to(device)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            if hasattr(model, 'decode_head'):
                crop = cfg.model.data_preprocessor.size[0]
                model.decode_head(model.extract_feat(torch.empty(1, 3, crop, 4 * crop)))
            else:
                width, height = DETECTION_SIZE
                features = model.extract_feat(torch.zeros(1, 3, height, width))
                if is_detr:
                    shape = dict(img_shape=(height, width), batch_input_shape=(height, width))
                    model.forward_transformer(features, [BaseDataElement(metainfo=shape)])
                elif hasattr(model, 'roi_head'):
                    model.rpn_head(features)
                    _run_roi_heads(model.roi_head)
                else:
                    model.bbox_head(features)
    # The counter counts a multiply-add as two operations
    return Complexity(sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2)


def _run_roi_heads(roi_head: nn.Module) -> None:
    for kind, boxes in (('bbox', PROPOSALS), ('mask', DETECTIONS)):
        if not hasattr(roi_head, f'{kind}_head'):
            continue
        heads = _stages(getattr(roi_head, f'{kind}_head'))
        extractors = _stages(getattr(roi_head, f'{kind}_roi_extractor'))
        for head, extractor in zip(heads, extractors):
            head(torch.empty(boxes, extractor.out_channels, *extractor.roi_layers[0].output_size))


def _stages(module: Any) -> Sequence[Any]:
    """Returns the heads of a cascade's stages, or the only head."""
    return list(module) if isinstance(module, nn.ModuleList) else [module]
