"""Finds the backbone in a model's config."""

from mmengine.config import ConfigDict
from mmengine.registry import MODELS

from mmconvnext.backbones import DenseBackbone
from mmconvnext.config_tree import NodePath, look_up, walk, walk_with_path
from mmconvnext.errors import UserError


def find_backbone(model: ConfigDict) -> ConfigDict:
    """Returns the config of the model's backbone, at whatever depth it is nested.

    Raises:
        UserError: If the model has no backbone of this package.
    """
    return look_up(model, backbone_path(model))


def backbone_path(model: ConfigDict) -> NodePath:
    """Returns the path from the model to the config of its backbone.

    Raises:
        UserError: If the model has no backbone of this package.
    """
    for path, node in walk_with_path(model):
        if _is_backbone(node.get('type')):
            return path
    others = [node.type for node in walk(model) if str(node.get('type')).endswith('.ConvNeXt')]
    hint = (
        f" In place of type={others[0]!r} write type='ConvNeXt', and in custom_imports 'mmconvnext' for "
        "'mmpretrain.models'; arch, out_indices, drop_path_rate, layer_scale_init_value and init_cfg stay."
        if others
        else ''
    )
    raise UserError(f"the model has no backbone of type 'ConvNeXt', which is what this package is for.{hint}")


def _is_backbone(kind: object) -> bool:
    """Returns whether a type, or its name, is of a backbone of this package, or of one derived from these."""
    if isinstance(kind, str):
        # MODELS.get() would import MMDetection's models in search of the name
        kind = MODELS.module_dict.get(kind.removeprefix('mmconvnext.'))
    return isinstance(kind, type) and issubclass(kind, DenseBackbone)
