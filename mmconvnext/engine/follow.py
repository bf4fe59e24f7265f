"""What follows from the backbone: the widths and strides that neck and heads are built for, and its own weights."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS

from mmconvnext.backbones import ConvNeXt, resolve_arch
from mmconvnext.checkpoints.manifest import MANIFEST, Weights
from mmconvnext.engine.tree import NodePath, look_up, walk, walk_with_path
from mmconvnext.errors import UserError

# Their outputs are one for each input, then more, each of twice the stride of the one before
PYRAMIDS = ('FPN', 'PAFPN', 'ChannelMapper')
REFINEMENTS = ('BFP', 'DyHead')  # second necks, which leave the strides as they are


def find_backbone(model: ConfigDict) -> ConfigDict:
    """The config of the model's ConvNeXt, however deep it is nested.

    Raises:
        UserError: If there is none.
    """
    return look_up(model, backbone_path(model))


def backbone_path(model: ConfigDict) -> NodePath:
    """The way from the model to the config of its ConvNeXt.

    Raises:
        UserError: If there is none.
    """
    for path, node in walk_with_path(model):
        if node.get('type') in ('ConvNeXt', 'mmconvnext.ConvNeXt', ConvNeXt):
            return path
    others = [node.type for node in walk(model) if str(node.get('type')).endswith('.ConvNeXt')]
    hint = (
        f" In place of type={others[0]!r} write type='ConvNeXt', and in custom_imports 'mmconvnext' for "
        "'mmpretrain.models'; arch, out_indices, drop_path_rate, layer_scale_init_value and init_cfg stay."
        if others
        else ''
    )
    raise UserError(f"the model has no backbone of type 'ConvNeXt', which is what this package is for.{hint}")


def follow_backbone(model: ConfigDict, asked: Mapping[str, Any] | None = None) -> None:
    """Sets the widths and strides of the neck, or of a segmentor's heads, to what the backbone gives.

    So a config, or ``--cfg-options model.backbone.arch=base``, names the arch and nothing else; likewise
    ``out_indices``: a pyramid keeps its number of extra levels, and anchors and RoI extractors get its strides.

    Args:
        model: Changed in place.
        asked: What options set of the model, as a tree. It stays as it is.

    Raises:
        UserError: If the backbone's arguments are wrong, or neck or heads cannot use what it returns.
    """
    path = backbone_path(model)
    cfg = copy.deepcopy(look_up(model, path))
    cfg.pop('init_cfg', None)
    with torch.device('meta'):  # checks the arguments at once, at no cost
        backbone = MODELS.build(cfg)
    parent = path[:-1]
    network = look_up(model, parent)
    if not network.get('neck'):
        _follow_in_heads(network, parent, backbone)
        return
    outputs_asked = look_up(asked, (*path, 'out_indices')) is not None
    strides = _follow_in_neck(network, parent, backbone, asked, outputs_asked)
    if strides:
        _check_own_strides(network, parent, strides, outputs_asked)


def follow_in_backbone(model: ConfigDict, asked: Mapping[str, Any]) -> None:
    """Lets the backbone's weights, and V1's layer scale, follow the arch and version that options set.

    Weights that the config names give way to those of the same training in the other size, where they are published;
    :func:`check_weights` refuses what is left. What options set themselves stays as it is.

    Args:
        model: Changed in place.
        asked: What options set of the model, as a tree.
    """
    path = backbone_path(model)
    said = look_up(asked, path)
    whole = any('_delete_' in (look_up(asked, path[:end]) or {}) for end in range(len(path) + 1))
    if not isinstance(said, Mapping) or whole:
        return
    backbone = look_up(model, path)
    if said.get('version') == 2 and 'layer_scale_init_value' not in said:
        backbone.pop('layer_scale_init_value', None)
    if ('arch' in said or 'version' in said) and 'init_cfg' not in said:
        for node, weights in _named_weights(backbone):
            net = f'convnext{"v2" if backbone.get("version", 1) == 2 else ""}_{backbone.get("arch", "tiny")}'
            name = f'{net}.{weights.name.partition(".")[2]}'
            if name in MANIFEST:
                node.checkpoint = name


def check_weights(model: ConfigDict) -> None:
    """Checks that the weights that the config names are of the backbone's size and version.

    Raises:
        UserError: If they are not. The message names those that are.
    """
    backbone = find_backbone(model)
    arch, version = backbone.get('arch', 'tiny'), backbone.get('version', 1)
    for _, weights in _named_weights(backbone):
        if (resolve_arch(weights.arch), weights.version) == (resolve_arch(arch), version):
            continue
        fitting = [
            w.name
            for w in MANIFEST.values()
            if (resolve_arch(w.arch), w.version) == (resolve_arch(arch), version) and '.' in w.name
        ]
        published = f'published for it are {", ".join(fitting)}' if fitting else 'nothing is published for it'
        raise UserError(
            f'the backbone would start from {weights.name} (arch={weights.arch!r}, version={weights.version}), but '
            f'has arch={arch!r}, version={version}: {published}. Give a name, a file or an address with '
            '--pretrained, or --pretrained none for random weights.'
        )


def _named_weights(backbone: ConfigDict) -> list[tuple[ConfigDict, Weights]]:
    nodes = [node for node in walk(backbone.get('init_cfg')) if node.get('checkpoint') in MANIFEST]
    return [(node, MANIFEST[node.checkpoint]) for node in nodes]


def _follow_in_heads(network: ConfigDict, parent: NodePath, backbone: Any) -> None:
    widths = backbone.out_channels
    for name in ('decode_head', 'auxiliary_head'):
        for path, node in walk_with_path(network.get(name), (*parent, name)):
            if 'in_index' not in node:
                continue
            indices = [node.in_index] if isinstance(node.in_index, int) else list(node.in_index)
            beyond = [i for i in indices if not -len(widths) <= i < len(widths)]
            if beyond:
                raise UserError(
                    f'model.{".".join(path)}.in_index={node.in_index!r} asks for output {beyond[0]} of the backbone, '
                    f'which returns {len(widths)} (out_indices={backbone.out_indices}): in_index counts these from 0 '
                    f'to {len(widths) - 1}.'
                )
            chosen = [widths[i] for i in indices]
            node.in_channels = chosen[0] if isinstance(node.in_index, int) else chosen


def _follow_in_neck(
    network: ConfigDict, parent: NodePath, backbone: Any, asked: Any, outputs_asked: bool
) -> list[int] | None:
    """Sets what follows of the neck, of anchors and of RoI extractors; the strides of the neck's outputs if known."""
    necks = list(network.neck) if isinstance(network.neck, list | tuple) else [network.neck]
    path = (*parent, 'neck', '0') if isinstance(network.neck, list | tuple) else (*parent, 'neck')
    neck, dotted = necks[0], f'model.{".".join(path)}'
    inputs = neck.get('in_channels')
    if isinstance(inputs, int) and len(backbone.out_channels) == 1:
        neck.in_channels = backbone.out_channels[0]
    elif isinstance(inputs, list | tuple):
        neck.in_channels = list(backbone.out_channels)

    known = _type_name(neck) in PYRAMIDS and all(_type_name(other) in REFINEMENTS for other in necks[1:])
    if not known or not isinstance(inputs, list | tuple):
        if outputs_asked:
            raise UserError(
                f'model.backbone.out_indices: what {" and ".join(map(_type_name, necks))} make of other outputs is not '
                f'known here, as it is of {", ".join(PYRAMIDS)}. Set neck and heads in a config of your own.'
            )
        return None
    _check_every_output_is_used(neck, dotted, backbone)

    strides = list(backbone.out_strides)
    num_outs = neck.get('num_outs') or len(strides)
    # A DETR's number of levels stays: its layers are built for it
    if outputs_asked and _type_name(neck) != 'ChannelMapper' and look_up(asked, (*path, 'num_outs')) is None:
        num_outs += len(strides) - len(inputs)
        neck.num_outs = num_outs
    if num_outs < len(strides):
        raise UserError(
            f'{dotted}.num_outs={num_outs} is less than the {len(strides)} outputs of the backbone '
            f'(out_indices={backbone.out_indices}), of which each makes a level.'
        )
    levels = strides + [strides[-1] * 2 ** (i + 1) for i in range(num_outs - len(strides))]
    for node_path, node in walk_with_path(network, parent):
        if _type_name(node) == 'AnchorGenerator' and look_up(asked, (*node_path, 'strides')) is None:
            node.strides = levels
        if (
            len(node.get('featmap_strides', ())) == len(inputs)  # those of single levels are of another kind
            and look_up(asked, (*node_path, 'featmap_strides')) is None
        ):
            node.featmap_strides = strides
    return levels


def _check_every_output_is_used(neck: ConfigDict, dotted: str, backbone: Any) -> None:
    indices = backbone.out_indices
    start, end = neck.get('start_level', 0), neck.get('end_level', -1)
    used = indices[start : None if end == -1 else end + 1]
    if used != indices:
        raise UserError(
            f'{dotted} has start_level={start} and end_level={end}, so it leaves outputs of the backbone unused '
            f'(out_indices={indices}), but each has a norm of its own, which would get no gradient and stop '
            f'distributed training. Set model.backbone.out_indices={list(used)}, and in the neck start_level=0 and '
            'end_level=-1.'
        )


def _check_own_strides(network: ConfigDict, parent: NodePath, levels: list[int], outputs_asked: bool) -> None:
    if not outputs_asked:
        return
    for path, node in walk_with_path(network, parent):
        strides = node.get('strides') if path[-1:] and path[-1].endswith('_head') else None
        if isinstance(strides, list | tuple) and list(strides) != levels:
            raise UserError(
                f'model.{".".join(path)}.strides={list(strides)}, but with these model.backbone.out_indices the neck '
                f'gives levels of strides {levels}. Set the strides, and whatever else counts its levels.'
            )


def _type_name(node: ConfigDict) -> str:
    kind = node.get('type')
    return kind.rpartition('.')[2] if isinstance(kind, str) else getattr(kind, '__name__', '')
