"""Layer-wise learning-rate decay: the nearer a layer is to the image, the smaller its learning rate.

The backbone tells the layer of each parameter: see :class:`~mmconvnext.backbones.contract.DenseBackbone`. Appendix A of
arXiv 2201.03545 gives the rates, and appendix A.1 of arXiv 2301.00808 those of ConvNeXt V2.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.logging import MMLogger
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, Registry
from torch import nn

from mmconvnext.backbones.contract import DenseBackbone
from mmconvnext.errors import UserError

DECAY_TYPES = ('layer_wise', 'stage_wise', 'single')
OPTIONS = ('decay_rate', 'decay_type', 'num_layers', 'custom_keys')

# What wrappers insert into parameter names: torch.compile, FSDP, activation checkpointing, DDP
WRAPPER_SEGMENTS = frozenset({'_orig_mod', '_fsdp_wrapped_module', '_checkpoint_wrapped_module', 'module'})


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Scales each layer's learning rate by ``decay_rate ** (N + 1 - layer)`` for every backbone in a model.

    Everything outside the backbones keeps the base learning rate. There is no weight decay for one-dimensional
    parameters, biases, GRN's two vectors, and the parameters that a backbone names. Each backbone tells its number of
    layers N; for ConvNeXt it follows from the depths. Backbones of this package are found anywhere in the model.

    Args:
        optim_wrapper_cfg: MMEngine's optimizer wrapper config; its optimizer needs ``lr``.
        paramwise_cfg: ``decay_rate`` (needed, more than 0, at most 1); ``decay_type`` (``layer_wise``, the default,
            ``stage_wise`` or ``single``); ``num_layers`` (only checked against the model); ``custom_keys`` (as in
            MMEngine: maps a part of a parameter's name to ``dict(lr_mult=..., decay_mult=...)``, which multiply the
            decayed values; the longest match counts).

    Raises:
        UserError: If an option is unknown or out of range, if the model holds no backbone of this package, if
            ``num_layers`` contradicts a backbone, or if a custom key matches no parameter.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        cfg = self.paramwise_cfg
        unknown = set(cfg) - set(OPTIONS)
        if unknown:
            raise UserError(
                f'paramwise_cfg has no option {", ".join(sorted(unknown))}; with layer-wise decay its options are '
                f'{", ".join(OPTIONS)}.'
            )
        self.decay_rate = cfg.get('decay_rate')
        if not _is_number(self.decay_rate) or not 0 < self.decay_rate <= 1:
            raise UserError(
                f'paramwise_cfg.decay_rate={self.decay_rate!r} must be a number above 0 and at most 1, such as 0.7.'
            )
        self.decay_type = cfg.get('decay_type', 'layer_wise')
        if self.decay_type not in DECAY_TYPES:
            raise UserError(f'paramwise_cfg.decay_type={self.decay_type!r} must be one of {", ".join(DECAY_TYPES)}.')
        num_layers = cfg.get('num_layers')
        if num_layers is not None and type(num_layers) is not int:
            raise UserError(f'paramwise_cfg.num_layers={num_layers!r} must be an integer.')
        for key, options in (cfg.get('custom_keys') or {}).items():
            if not isinstance(options, dict) or not options or set(options) - {'lr_mult', 'decay_mult'}:
                raise UserError(
                    f'paramwise_cfg.custom_keys[{key!r}]={options!r} must be a dictionary with lr_mult, decay_mult or '
                    'both.'
                )
            for name, factor in options.items():
                if not _is_number(factor) or not 0 <= factor < math.inf:
                    raise UserError(
                        f'paramwise_cfg.custom_keys[{key!r}].{name}={factor!r} must be a number of at least 0.'
                    )
        if self.base_lr is None:
            raise UserError('layer-wise decay scales a learning rate: give the optimizer its lr.')
        if not _is_number(self.base_lr):
            raise UserError(f"the optimizer's lr={self.base_lr!r} must be a number.")

    def add_params(self, params: list[dict], module: nn.Module, **kwargs: object) -> None:
        """Appends one optimizer group for each pair of learning rate and weight decay.

        Args:
            params: The optimizer's groups, extended in place with ``params``, ``lr``, ``weight_decay`` and
                ``lr_scale``.
            module: The whole model.
        """
        custom_keys = self.paramwise_cfg.get('custom_keys') or {}
        by_length = sorted(sorted(custom_keys), key=len, reverse=True)
        layers = dict(self._layers(module))
        undecayed = set(_undecayed(module))

        groups: dict[tuple[float, float], list[nn.Parameter]] = {}  # by (scale, weight decay)
        rows: dict[tuple[int, float], list[bool]] = {}  # (layer, scale) -> whether each tensor is decayed
        unused_keys = set(custom_keys)
        for name, param in module.named_parameters():
            if not param.requires_grad:
                continue
            layer, steps = layers[name]
            scale = self.decay_rate**steps
            weight_decay = 0.0 if name in undecayed else self.base_wd or 0.0
            for key in by_length:
                if key in name:
                    scale *= custom_keys[key].get('lr_mult', 1.0)
                    weight_decay *= custom_keys[key].get('decay_mult', 1.0)
                    unused_keys.discard(key)
                    break
            groups.setdefault((scale, weight_decay), []).append(param)
            rows.setdefault((layer, scale), []).append(weight_decay > 0)

        if unused_keys:
            raise UserError(
                f'paramwise_cfg.custom_keys: {", ".join(sorted(unused_keys))} matches no trainable parameter, '
                'or only parameters that a longer key matches too.'
            )
        self._report(rows)
        params.extend(
            dict(params=group, lr=scale * self.base_lr, weight_decay=weight_decay, lr_scale=scale)
            for (scale, weight_decay), group in groups.items()
        )

    def _layers(self, model: nn.Module) -> Iterator[tuple[str, tuple[int, int]]]:
        """Yields each parameter's name, its layer, and how many times its learning rate is decayed."""
        backbones = _backbones(model)
        if not backbones:
            raise UserError(
                f'layer-wise decay found no ConvNeXt in {type(model).__name__}, nor another backbone of mmconvnext. '
                "Use it with one, or drop optim_wrapper.constructor and its paramwise_cfg for MMEngine's default."
            )
        counts = {name: backbone.num_layers(self.decay_type) for name, backbone in backbones.items()}
        wanted = self.paramwise_cfg.get('num_layers')
        for name, derived in counts.items():
            if wanted is not None and wanted != derived:
                raise UserError(
                    f'paramwise_cfg.num_layers={wanted} contradicts the model: {name or "the backbone"} has '
                    f'{derived} learning-rate layers. Leave num_layers out; the backbone tells it.'
                )
        head = max(counts.values()) + 1
        for name, _ in model.named_parameters():
            owner, local = _locate(name, backbones)
            if owner is None:
                yield name, (head, 0)
                continue
            num_layers = counts[owner]
            layer = backbones[owner].layer_of(local, self.decay_type)
            yield name, (layer if layer <= num_layers else head, num_layers + 1 - layer)

    def _report(self, rows: dict[tuple[int, float], list[bool]]) -> None:
        lines = [f'{self.decay_type} learning-rate decay {self.decay_rate}']
        lines.append(f'{"layer":>5}  {"scale":>9}  {"lr":>9}  {"tensors":>7}  {"undecayed":>9}')
        for (layer, scale), decayed in sorted(rows.items()):
            lines.append(
                f'{layer:>5}  {scale:>9.4g}  {scale * self.base_lr:>9.3g}  {len(decayed):>7}  {decayed.count(False):>9}'
            )
        MMLogger.get_current_instance().info('\n'.join(lines))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _backbones(model: nn.Module) -> dict[str, DenseBackbone]:
    return {name: module for name, module in model.named_modules() if isinstance(module, DenseBackbone)}


def _locate(name: str, backbones: Mapping[str, DenseBackbone]) -> tuple[str | None, str]:
    """Returns the backbone that has a parameter, or None, and the parameter's name in it, without wrappers' parts."""
    owner = next((b for b in backbones if name.startswith(f'{b}.' if b else '')), None)
    if owner is None:
        return None, name
    segments = name[len(owner) + 1 if owner else 0 :].split('.')
    return owner, '.'.join(segment for segment in segments if segment not in WRAPPER_SEGMENTS)


def _undecayed(model: nn.Module) -> Iterator[str]:
    """Yields the names of the parameters that get no weight decay."""
    backbones = _backbones(model)
    named = {owner: backbone.no_weight_decay() for owner, backbone in backbones.items()}
    for name, param in model.named_parameters():
        owner, local = _locate(name, backbones)
        by_backbone = owner is not None and local in named[owner]
        if by_backbone or param.ndim == 1 or name.endswith(('.bias', '.grn.gamma', '.grn.beta')):
            yield name


# Configs of the authors and of MMDetection use this name: type='mmconvnext.LearningRateDecayOptimizerConstructor'
_SCOPE = Registry(
    'optimizer wrapper constructor',
    parent=OPTIM_WRAPPER_CONSTRUCTORS,
    scope='mmconvnext',
    locations=['mmconvnext.optim'],
)
_SCOPE.register_module(name='LearningRateDecayOptimizerConstructor', module=LayerDecayOptimWrapperConstructor)
