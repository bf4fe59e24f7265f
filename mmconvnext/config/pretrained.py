"""Chooses the weights that the backbone starts from."""

from typing import Any

from mmengine.config import Config, ConfigDict

from mmconvnext.backbones import resolve_arch
from mmconvnext.checkpoints.manifest import MANIFEST, Weights
from mmconvnext.config.backbone import backbone_path, find_backbone, is_convnext, is_openmmlabs
from mmconvnext.config.options import Options
from mmconvnext.config_tree import as_list, look_up, walk
from mmconvnext.errors import UserError

# The arguments of ConvNeXtPretrained that are about the backbone; the others are about the file
OF_THE_BACKBONE = ('adapt_stem', 'final_norm')


def set_pretrained(cfg: Config, pretrained: str) -> list[str]:
    """Sets the checkpoint that the backbone starts from.

    Other initializers in its ``init_cfg`` stay, and so do the loader's arguments that are about the backbone.

    Args:
        cfg: Changed in place.
        pretrained: A path, a URL or a short name, or ``none`` for random weights.

    Returns:
        Notes on the loader's arguments that are dropped because they were about the former checkpoint, such as its
        ``prefix``.
    """
    backbone = find_backbone(cfg.model)
    given = as_list(backbone.get('init_cfg'))
    loaders = [node for node in given if 'checkpoint' in node]
    rest: list[Any] = [node for node in given if 'checkpoint' not in node]
    kept = {} if pretrained == 'none' else {k: node[k] for node in loaders for k in OF_THE_BACKBONE if k in node}
    if pretrained != 'none':
        kind = 'Pretrained' if is_openmmlabs(backbone) else 'ConvNeXtPretrained'
        rest.append(dict(type=kind, checkpoint=pretrained, **kept))
    backbone.init_cfg = rest[0] if len(rest) == 1 else rest or None
    dropped = {key: node[key] for node in loaders for key in node if key not in ('type', 'checkpoint', *kept)}
    if not dropped:
        return []
    listed = ', '.join(f'{key}={value!r}' for key, value in dropped.items())
    return [f"the backbone's init_cfg had {listed} for {loaders[0].checkpoint}, which another checkpoint replaces"]


def match_size(model: ConfigDict, options: Options) -> None:
    """Adapts the backbone's weights, and V1's layer scale, to an arch or version that the options set.

    Weights that the config names by a short name are replaced by those of the same training in the new size, if these
    are published. :func:`check_weights` refuses the others. What the options set themselves stays.

    Args:
        model: Changed in place.
        options: What the user set.
    """
    path = ('model', *backbone_path(model))
    if options.replaces(*path):
        return
    arch, version = options.get(*path, 'arch'), options.get(*path, 'version')
    backbone = look_up(model, path[1:])
    if version == 2 and options.get(*path, 'layer_scale_init_value') is None:
        backbone.pop('layer_scale_init_value', None)
    if (arch, version) != (None, None) and 'init_cfg' not in (options.get(*path) or {}):
        for node, weights in _named_weights(backbone):
            net = f'convnext{"v2" if backbone.get("version", 1) == 2 else ""}_{backbone.get("arch", "tiny")}'
            name = f'{net}.{weights.name.partition(".")[2]}'
            if name in MANIFEST:
                node.checkpoint = name


def check_weights(model: ConfigDict) -> None:
    """Checks that the weights of a ConvNeXt, if the config has their short name, are for its size and version.

    Raises:
        UserError: If they are not. The message, and ``facts['fitting']``, name those that are.
    """
    backbone = find_backbone(model)
    if not is_convnext(backbone):  # files for others are checked tensor by tensor when they are loaded
        return
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
            f'has arch={arch!r}, version={version}: {published}. Give a name, a file or a URL with '
            '--pretrained, or --pretrained none for random weights.',
            weights=weights.name,
            fitting=fitting,
        )


def _named_weights(backbone: ConfigDict) -> list[tuple[ConfigDict, Weights]]:
    nodes = [node for node in walk(backbone.get('init_cfg')) if node.get('checkpoint') in MANIFEST]
    return [(node, MANIFEST[node.checkpoint]) for node in nodes]
