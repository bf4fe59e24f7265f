"""Finds the backbone in a model's config."""

from mmengine.config import ConfigDict

from mmconvnext.backbones import ConvNeXt
from mmconvnext.config_tree import NodePath, look_up, walk, walk_with_path
from mmconvnext.errors import UserError


def find_backbone(model: ConfigDict) -> ConfigDict:
    """Returns the config of the model's ConvNeXt, at whatever depth it is nested.

    Raises:
        UserError: If the model has no ConvNeXt.
    """
    return look_up(model, backbone_path(model))


def backbone_path(model: ConfigDict) -> NodePath:
    """Returns the path from the model to the config of its ConvNeXt.

    Raises:
        UserError: If the model has no ConvNeXt.
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
