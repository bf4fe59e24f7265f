"""Finds the backbone in a model's config."""

from mmengine.config import ConfigDict
from mmengine.registry import MODELS

from mmconvnext.backbones import ConvNeXt, DenseBackbone
from mmconvnext.config_tree import NodePath, look_up, walk, walk_with_path
from mmconvnext.errors import UserError

# Backbones of MMDetection and MMSegmentation that configs here use to reproduce figures published with them
OPENMMLABS = ('SwinTransformer',)


def find_backbone(model: ConfigDict) -> ConfigDict:
    """Returns the config of the model's backbone, at whatever depth it is nested.

    Raises:
        UserError: If the model has neither a backbone of this package nor one of :data:`OPENMMLABS`.
    """
    return look_up(model, backbone_path(model))


def backbone_path(model: ConfigDict) -> NodePath:
    """Returns the path from the model to the config of its backbone.

    Raises:
        UserError: If the model has neither a backbone of this package nor one of :data:`OPENMMLABS`.
    """
    for path, node in walk_with_path(model):
        if _is(node.get('type'), DenseBackbone) or (path[-1:] == ('backbone',) and is_openmmlabs(node)):
            return path
    others = [node.type for node in walk(model) if str(node.get('type')).endswith('.ConvNeXt')]
    hint = (
        f" In place of type={others[0]!r} write type='ConvNeXt', and in custom_imports 'mmconvnext' for "
        "'mmpretrain.models'; arch, out_indices, drop_path_rate, layer_scale_init_value and init_cfg stay."
        if others
        else ''
    )
    raise UserError(f"the model has no backbone of type 'ConvNeXt', which is what this package is for.{hint}")


def is_openmmlabs(backbone: ConfigDict) -> bool:
    """Returns whether a backbone is OpenMMLab's. It does not tell its channels, so the config sets neck and heads."""
    return backbone.get('type') in OPENMMLABS


def is_convnext(backbone: ConfigDict) -> bool:
    """Returns whether a backbone's config is of a ConvNeXt, which the published weights are for."""
    return _is(backbone.get('type'), ConvNeXt)


def _is(kind: object, base: type) -> bool:
    """Returns whether a type, or its name, is ``base`` or derived from it."""
    if isinstance(kind, str):
        # MODELS.get() would import MMDetection's models in search of the name
        kind = MODELS.module_dict.get(kind.removeprefix('mmconvnext.'))
    return isinstance(kind, type) and issubclass(kind, base)
