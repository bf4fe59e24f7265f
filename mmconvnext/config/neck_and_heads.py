"""Sets the channels and strides of neck and heads to those of the backbone."""

import copy
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS

from mmconvnext.config.backbone import backbone_path, is_openmmlabs
from mmconvnext.config.options import Options
from mmconvnext.config_tree import NodePath, look_up, walk_with_path
from mmconvnext.errors import UserError

# Necks with one output for each input, then extra ones, each of twice the stride of the one before
PYRAMIDS = ('FPN', 'PAFPN', 'ChannelMapper')
REFINEMENTS = ('BFP', 'DyHead')  # second necks, which leave the strides as they are


def match_backbone(model: ConfigDict, options: Options | None = None) -> None:
    """Sets channels and strides of the neck, or of a segmentor's heads, to those of the backbone's outputs.

    A config, or ``--cfg-options model.backbone.arch=base``, then needs to name the arch only. The same holds for
    ``out_indices``: a pyramid keeps its number of extra levels, and anchors and RoI extractors get its strides.

    Args:
        model: Changed in place.
        options: What the user set. These values stay.

    Raises:
        UserError: If the backbone's arguments are wrong, or neck or heads cannot use its outputs.
    """
    path = backbone_path(model)
    if is_openmmlabs(look_up(model, path)):
        return
    cfg = copy.deepcopy(look_up(model, path))
    cfg.pop('init_cfg', None)
    with torch.device('meta'):  # checks the arguments without allocating the weights
        backbone = MODELS.build(cfg)
    parent = path[:-1]
    network = look_up(model, parent)
    if network.get('neck'):
        _match_in_neck(network, path, backbone, options)
    else:
        _match_in_heads(network, parent, backbone)


def _match_in_heads(network: ConfigDict, parent: NodePath, backbone: Any) -> None:
    widths = backbone.out_channels
    for name in ('decode_head', 'auxiliary_head'):
        for path, node in walk_with_path(network.get(name), (*parent, name)):
            if 'in_index' not in node:
                continue
            indices = [node.in_index] if isinstance(node.in_index, int) else list(node.in_index)
            beyond = [i for i in indices if not -len(widths) <= i < len(widths)]
            if beyond:
                key = f'model.{".".join(path)}.in_index'
                raise UserError(
                    f'{key}={node.in_index!r} asks for output {beyond[0]} of the backbone, which returns '
                    f'{len(widths)} (out_indices={backbone.out_indices}): in_index counts these from 0 to '
                    f'{len(widths) - 1}.',
                    key=key,
                )
            chosen = [widths[i] for i in indices]
            node.in_channels = chosen[0] if isinstance(node.in_index, int) else chosen


def _match_in_neck(network: ConfigDict, backbone_at: NodePath, backbone: Any, options: Options | None) -> None:
    """Sets the channels of the neck's inputs and, where its outputs are known, the strides of what follows it."""
    parent = backbone_at[:-1]
    several = isinstance(network.neck, list | tuple)
    necks = list(network.neck) if several else [network.neck]
    path = (*parent, 'neck', '0') if several else (*parent, 'neck')
    neck, inputs = necks[0], necks[0].get('in_channels')
    if isinstance(inputs, int) and len(backbone.out_channels) == 1:
        neck.in_channels = backbone.out_channels[0]
    elif isinstance(inputs, list | tuple):
        neck.in_channels = list(backbone.out_channels)

    other_outputs = _is_set(options, *backbone_at, 'out_indices')
    known = _type_name(neck) in PYRAMIDS and all(_type_name(other) in REFINEMENTS for other in necks[1:])
    if not known or not isinstance(inputs, list | tuple):
        if other_outputs:
            raise UserError(
                f'model.backbone.out_indices: how {" and ".join(map(_type_name, necks))} would use other outputs is '
                f'not known here, unlike for {", ".join(PYRAMIDS)}. Set neck and heads in a config of your own.',
                key='model.backbone.out_indices',
            )
        return
    _check_every_output_is_used(neck, f'model.{".".join(path)}', backbone)

    strides = list(backbone.out_strides)
    num_outs = neck.get('num_outs') or len(strides)
    # The number of levels of a DETR stays: its layers are built for it
    if other_outputs and _type_name(neck) != 'ChannelMapper' and not _is_set(options, *path, 'num_outs'):
        num_outs += len(strides) - len(inputs)
        neck.num_outs = num_outs
    if num_outs < len(strides):
        key = f'model.{".".join(path)}.num_outs'
        raise UserError(
            f'{key}={num_outs} is less than the {len(strides)} outputs of the backbone '
            f'(out_indices={backbone.out_indices}), and each of these is a level of the pyramid.',
            key=key,
        )
    levels = strides + [strides[-1] * 2 ** (i + 1) for i in range(num_outs - len(strides))]
    for node_path, node in walk_with_path(network, parent):
        if _type_name(node) == 'AnchorGenerator' and not _is_set(options, *node_path, 'strides'):
            node.strides = levels
        # An extractor with another number of levels reads chosen ones, and stays as it is
        if len(node.get('featmap_strides', ())) == len(inputs) and not _is_set(options, *node_path, 'featmap_strides'):
            node.featmap_strides = strides
    if other_outputs:
        _check_strides_of_heads(network, parent, levels)


def _is_set(options: Options | None, *path: str) -> bool:
    return options is not None and options.get('model', *path) is not None


def _check_every_output_is_used(neck: ConfigDict, dotted: str, backbone: Any) -> None:
    indices = backbone.out_indices
    start, end = neck.get('start_level', 0), neck.get('end_level', -1)
    used = indices[start : None if end == -1 else end + 1]
    if used != indices:
        raise UserError(
            f'{dotted} has start_level={start} and end_level={end}, so it leaves outputs of the backbone unused '
            f'(out_indices={indices}). Parameters that serve only these, such as their norms, would get no gradient, '
            f'and that stops distributed training. Set model.backbone.out_indices={list(used)}, and in the neck '
            'start_level=0 and end_level=-1.',
            out_indices=list(used),
        )


def _check_strides_of_heads(network: ConfigDict, parent: NodePath, levels: list[int]) -> None:
    for path, node in walk_with_path(network, parent):
        strides = node.get('strides') if path[-1:] and path[-1].endswith('_head') else None
        if isinstance(strides, list | tuple) and list(strides) != levels:
            key = f'model.{".".join(path)}.strides'
            raise UserError(
                f'{key}={list(strides)}, but with these model.backbone.out_indices the neck gives levels of strides '
                f'{levels}. Set the strides, and whatever else depends on the number of levels.',
                key=key,
                levels=levels,
            )


def _type_name(node: ConfigDict) -> str:
    kind = node.get('type')
    return kind.rpartition('.')[2] if isinstance(kind, str) else getattr(kind, '__name__', '')
