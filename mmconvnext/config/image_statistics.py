"""Gives the data preprocessor the mean and standard deviation that the backbone's weights were trained with."""

from mmengine.config import ConfigDict

from mmconvnext.backbones import TimmFeatures
from mmconvnext.backbones.timm_features import image_statistics
from mmconvnext.config.backbone import backbone_path
from mmconvnext.config.options import Options
from mmconvnext.config_tree import look_up, walk_with_path


def match_image_statistics(model: ConfigDict, options: Options) -> None:
    """Sets mean and standard deviation of the images to those of a timm network's weights.

    They are ImageNet's for most networks, but 0.5 for BiT and some others. Other backbones leave them as they are.

    Args:
        model: Changed in place.
        options: What the user set. These values stay.
    """
    path = backbone_path(model)
    backbone = look_up(model, path)
    if backbone.get('type') not in ('TimmFeatures', 'mmconvnext.TimmFeatures', TimmFeatures):
        return
    statistics = dict(zip(('mean', 'std'), image_statistics(backbone.model_name)))
    # The preprocessor of the network that has the backbone, or else that of a network around it
    for end in range(len(path) - 1, -1, -1):
        inside = (*path[:end], 'data_preprocessor')
        nodes = [(at, node) for at, node in walk_with_path(look_up(model, inside), inside) if 'mean' in node]
        for at, node in nodes:
            for name, value in statistics.items():
                if options.get('model', *at, name) is None:
                    node[name] = value
        if nodes:
            return
