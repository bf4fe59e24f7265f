"""Turns any network of timm into a backbone for dense prediction, to train ConvNeXt's rivals by ConvNeXt's recipe."""

import difflib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmconvnext.backbones import arguments
from mmconvnext.backbones.contract import DenseBackbone
from mmconvnext.backbones.layers import LayerNorm2d
from mmconvnext.backbones.timm_layers import TimmLayers
from mmconvnext.errors import UserError

STRIDES = (4, 8, 16, 32)  # of the stages' outputs
EPS = 1e-6  # of the output norms, as in ConvNeXt
OURS = (
    *('pretrained', 'pretrained_cfg', 'pretrained_cfg_overlay', 'checkpoint_path', 'features_only', 'feature_cls'),
    *('out_indices', 'num_classes', 'in_chans', 'drop_path_rate'),
)
# Transformers for classification refuse images of another size than they were built for, or treat them otherwise: a
# Swin that timm built for 224 pixels would not shift the windows of stage 4, where one window covers the whole map
ANY_SIZE = dict(strict_img_size=False, always_partition=True)


@MODELS.register_module()
class TimmFeatures(DenseBackbone):
    """A network of timm with an output for each of several stages, by default each through a LayerNorm of its own.

    The stages are those of ConvNeXt: stage 0 ends at stride 4, and stage 3 at stride 32. Parameters have timm's names
    after ``model.``. Layers that only serve classification are not built. timm is imported when a backbone is built.

    Args:
        model_name: timm's name of the network, with the tag of its weights, such as ``resnet50.a1_in1k``. The tag
            decides the mean and standard deviation of the images; the weights themselves are loaded by ``init_cfg``.
        out_indices: Which of the stages 0 to 3 to return; negative ones count from the last. Outputs are in ascending
            order.
        drop_path_rate: Stochastic depth of the last block, for networks that have it.
        output_norm: Whether each output passes through a LayerNorm, as ConvNeXt's do. Networks with pre-activation,
            such as BiT, DenseNet and Swin, end their stages without a norm.
        frozen_stages: Which parameters to freeze: -1 none, 0 the stem's, n those of the stem and of the first n stages
            with their output norms. Frozen parts stay in eval mode.
        norm_cfg: The type of the network's BatchNorms: ``dict(type='BN')``, or ``dict(type='SyncBN')`` with statistics
            over all processes. With ``requires_grad=False`` their weights and biases are frozen.
        norm_eval: Whether BatchNorms keep the statistics of the pre-training, as detectors with few images per GPU
            need. A training from random weights has no such statistics, so set it to False there.
        decay_layers: Number of layers N of learning-rate decay. The blocks are distributed evenly over them. Use 6 for
            networks of the size of ConvNeXt-T, and 12 for larger ones.
        timm_args: Further arguments of ``timm.create_model``.
        init_cfg: MMEngine's initialization, such as ``dict(type='Pretrained',
            checkpoint='hf-hub:timm/resnet50.a1_in1k')``, or the same with a file. The file has timm's names of
            tensors, or names that timm can read.

    Attributes:
        out_channels (tuple[int, ...]): Channels of each output.
        out_strides (tuple[int, ...]): Input pixels per output pixel, of each output.
        layers (TimmLayers): The layer and the stage of each parameter of ``model``.
        classifier (str): timm's name of the classifier, which is not built.

    Raises:
        UserError: If timm is not installed, does not have the network, or the network lacks a stage or an argument.

    Shapes:
        Input (B, 3, H, W). Outputs: (B, out_channels[i], H // out_strides[i], W // out_strides[i]) where H and W are
        multiples of 32. For other sizes some networks round up and some down, and networks whose names start with
        ``tf_`` shift their maps, so pad images to a multiple of 32.
    """

    def __init__(
        self,
        model_name: str,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path_rate: float = 0.0,
        output_norm: bool = True,
        frozen_stages: int = -1,
        norm_cfg: Mapping[str, Any] | None = None,
        norm_eval: bool = True,
        decay_layers: int = 6,
        timm_args: Mapping[str, Any] | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=arguments.initializers(init_cfg))
        timm = import_timm()
        check_name(model_name)
        self.model_name = model_name
        self.out_indices = arguments.stages(out_indices, len(STRIDES))
        self.output_norm = arguments.checked('output_norm', output_norm, [bool], lambda _: True, 'True or False')
        self.norm_eval = arguments.checked('norm_eval', norm_eval, [bool], lambda _: True, 'True or False')
        drop_path_rate = arguments.checked(
            'drop_path_rate', drop_path_rate, (int, float), lambda p: 0 <= p < 1, 'a number, at least 0 and less than 1'
        )
        whole = _on_meta(model_name, timm_args or {})
        levels = _levels(model_name, whole, self.out_indices[-1] + 1)
        self.timm_args = _for_any_size(model_name, whole, drop_path_rate, timm_args or {})
        self.layers = TimmLayers.of(_groups(model_name, whole), [whole.feature_info[i]['module'] for i in levels])
        if self.layers.ends[-1] == 0:
            raise UserError(
                f'timm does not tell the blocks of {model_name} apart, which freezing and decay need.',
                network=model_name,
            )
        self.decay_layers = arguments.checked(
            'decay_layers', decay_layers, [int], lambda n: n > 0, 'a positive integer'
        )
        self.frozen_stages = arguments.checked(
            *('frozen_stages', frozen_stages, [int], lambda n: -1 <= n <= self.out_indices[-1] + 1),
            f'-1 (nothing), 0 (the stem) or up to {self.out_indices[-1] + 1} (the stem and as many stages)',
        )
        self.classifier: str = whole.pretrained_cfg['classifier']
        self._undecayed = {f'model.{name}' for name in getattr(whole, 'no_weight_decay', set)()}

        # The getter returns maps as (B, C, H, W) for every network; timm's other ways return Swin's as (B, H, W, C)
        taken = [levels[i] for i in self.out_indices]
        features = timm.create_model(
            model_name, features_only=True, feature_cls='getter', out_indices=taken, **self.timm_args
        )
        self.out_channels = tuple(features.feature_info.channels())
        self.out_strides = tuple(STRIDES[i] for i in self.out_indices)
        self.model = _with_norms(features.model, model_name, norm_cfg, self.norm_eval)
        self.model.is_init = True  # otherwise MMEngine calls its init_weights() after the weights are loaded
        self._taken = list(features.out_indices)
        for i, channels in zip(self.out_indices, self.out_channels):
            if self.output_norm:
                self.add_module(f'norm{i}', LayerNorm2d(channels, eps=EPS))
        self._frozen_names = tuple(self._names_to_freeze()) if self.frozen_stages >= 0 else ()
        for module in self._frozen():
            module.requires_grad_(False)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Returns a feature map (B, C_i, H_i, W_i) for each of ``out_indices``.

        Raises:
            UserError: If ``x`` is not (B, 3, H, W), or smaller than the stride of the last output.
        """
        arguments.check_input(x, 3, self.out_indices[-1])
        x = x.contiguous(memory_format=torch.channels_last)
        maps = self.model.forward_intermediates(
            x, indices=self._taken, norm=False, output_fmt='NCHW', intermediates_only=True
        )
        if not self.output_norm:
            return tuple(maps)
        return tuple(getattr(self, f'norm{i}')(feature) for i, feature in zip(self.out_indices, maps))

    def train(self, mode: bool = True) -> 'TimmFeatures':
        """Sets the training mode, except in frozen parts and, with ``norm_eval``, in BatchNorms, which stay in eval."""
        super().train(mode)
        if self.norm_eval:
            for norm in batch_norms(self.model):
                norm.eval()
        for module in self._frozen():
            module.eval()
        return self

    def num_layers(self, decay_type: str) -> int:
        """Returns ``decay_layers``, over which ``layer_wise`` and ``stage_wise`` distribute the blocks.

        Raises:
            UserError: If the type is ``single``, which is defined for ConvNeXt's blocks alone.
        """
        if decay_type == 'single':
            raise UserError(
                "decay_type='single' is defined by the blocks of a ConvNeXt, and the backbone is a TimmFeatures. Set "
                "decay_type='layer_wise', and decay_layers of the backbone to its number of layers.",
                decay_type=decay_type,
            )
        return self.decay_layers

    def layer_of(self, name: str, decay_type: str) -> int:
        """Returns the layer of a parameter such as ``model.layer1.0.conv1.weight``; the output norms' is N + 1.

        With ``stage_wise`` the layer of stage i is i + 1. Parameters between two stages belong to the later one. (For
        ConvNeXt the authors' rule gives these the rate of the stem. Most other networks have none.)
        """
        part, _, inner = name.partition('.')
        if part != 'model':
            return self.decay_layers + 1
        if decay_type == 'stage_wise':
            return self.layers.stage_of(inner) + 1
        return self.layers.layer_of(inner, self.decay_layers)

    def no_weight_decay(self) -> set[str]:
        """Names the parameters that timm exempts from weight decay, such as Swin's ``relative_position_bias_table``."""
        return self._undecayed

    def own_name(self, name: str) -> str:
        """Adds ``model.`` to timm's name of a tensor."""
        return f'model.{name}'

    def _frozen(self) -> Iterator[nn.Module]:
        for name in self._frozen_names:
            yield self.get_submodule(name)

    def _names_to_freeze(self) -> Iterator[str]:
        """Yields the names of the outermost modules all of whose parameters are in frozen stages."""
        names = [name for name, _ in self.model.named_parameters()]
        free_names = [name for name in names if self.layers.stage_of(name) >= self.frozen_stages]
        free = {parent for name in free_names for parent in _parents(name)}
        for parent in sorted({parent for name in names for parent in _parents(name)} - free):
            if not parent or parent.rpartition('.')[0] in free:
                yield f'model.{parent}'.rstrip('.')
        for i in range(self.frozen_stages):
            if self.output_norm and i in self.out_indices:
                yield f'norm{i}'


def import_timm(what: str = 'TimmFeatures', extra: str = 'timm') -> ModuleType:
    """Returns timm.

    Args:
        what: What needs it, for the error.
        extra: Of this package's extras, the one that brings it.

    Raises:
        UserError: If it is not installed.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        if error.name != 'timm':
            raise
        message = f"{what} needs timm, which is not installed: pip install 'mmconvnext[{extra}]'."
        raise UserError(message, package='timm') from error
    return timm


def check_name(model_name: str) -> None:
    """Checks that timm has a network, and weights with its tag.

    Raises:
        UserError: If it does not; ``facts['similar']`` has the names that are close.
    """
    timm = import_timm()
    if not isinstance(model_name, str):
        raise UserError(f'model_name={model_name!r} must be a name of timm, such as resnet50.a1_in1k.')
    network, _, tag = model_name.partition('.')
    if not timm.is_model(network):
        similar = difflib.get_close_matches(network, timm.list_models())
        hint = f' Did you mean {" or ".join(similar)}?' if similar else ''
        raise UserError(f'model_name={model_name!r}: timm has no network {network}.{hint}', similar=similar)
    tags = [name for name in timm.list_models(f'{network}.*', pretrained=True) if name.partition('.')[0] == network]
    if tag and model_name not in tags:
        raise UserError(
            f'model_name={model_name!r}: timm has no weights {tag} of {network}. It has {", ".join(tags) or "none"}.',
            similar=tags,
        )


def image_statistics(model_name: str) -> tuple[list[float], list[float]]:
    """Returns mean and standard deviation of the images of timm's training, as RGB, for values from 0 to 255."""
    check_name(model_name)
    cfg = import_timm().get_pretrained_cfg(model_name)
    mean, std = ([255 * value for value in values] for values in (cfg.mean, cfg.std))
    return [round(value, 4) for value in mean], [round(value, 4) for value in std]


def batch_norms(model: nn.Module) -> Iterator[_BatchNorm]:
    """Yields every BatchNorm, synchronized or not."""
    return (module for module in model.modules() if isinstance(module, _BatchNorm))


def _parents(name: str) -> Iterator[str]:
    """Yields the names of the modules that contain a parameter, innermost first; the whole model's name is empty."""
    while name:
        name = name.rpartition('.')[0]
        yield name


def _for_any_size(model_name: str, whole: Any, drop_path_rate: float, timm_args: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of timm.create_model, with those that let the network take images of any size."""
    known = inspect.signature(type(whole).__init__).parameters
    if drop_path_rate and 'drop_path_rate' not in known:
        raise UserError(
            f'drop_path_rate={drop_path_rate}: {model_name} has no stochastic depth in timm. Set it to 0.',
            argument='drop_path_rate',
        )
    cfg = whole.pretrained_cfg
    if cfg['fixed_input_size'] and 'strict_img_size' not in known and 'img_size' not in timm_args:
        size = cfg['input_size'][1:]
        raise UserError(
            f'{model_name} takes images of only one size, {size}. If all of your images have the same size, give it '
            'as timm_args=dict(img_size=(height, width)).',
            size=size,
        )
    rate = dict(drop_path_rate=drop_path_rate) if 'drop_path_rate' in known else {}
    return {**{name: value for name, value in ANY_SIZE.items() if name in known}, **rate, **timm_args}


def _on_meta(model_name: str, timm_args: Mapping[str, Any]) -> Any:
    """Builds the whole network, with its head, on the meta device."""
    if refused := [name for name in timm_args if name in OURS]:
        raise UserError(
            f"timm_args={dict(timm_args)!r}: {', '.join(refused)} cannot be set there. The backbone's own arguments "
            'choose its outputs and stochastic depth, its init_cfg loads weights, and images have three channels.',
            refused=refused,
        )
    try:
        with torch.device('meta'):
            return import_timm().create_model(model_name, **timm_args)
    except TypeError as error:  # an argument that the network does not have
        raise UserError(f'timm_args={dict(timm_args)!r} of {model_name}: {error}', timm_args=dict(timm_args)) from error


def _levels(model_name: str, whole: Any, count: int) -> list[int]:
    """Returns the index of each stage among timm's features of the network."""
    if not hasattr(whole, 'forward_intermediates') or not hasattr(whole, 'feature_info'):
        message = f'{model_name} cannot return maps of its stages: in timm it has no forward_intermediates.'
        raise UserError(message, network=model_name)
    by_stride = {info['reduction']: i for i, info in enumerate(whole.feature_info)}
    if missing := [stride for stride in STRIDES[:count] if stride not in by_stride]:
        raise UserError(
            f'{model_name} has no maps of stride {" and ".join(map(str, missing))}; the strides of its maps are '
            f'{sorted(by_stride)}. Detection and segmentation here need {", ".join(map(str, STRIDES[:count]))}.',
            strides=sorted(by_stride),
        )
    # All stages are listed even if fewer are built: learning rates are those of the whole network
    return [by_stride[stride] for stride in STRIDES if stride in by_stride]


def _groups(model_name: str, whole: Any) -> dict[str, int]:
    from timm.models import group_parameters

    if not hasattr(whole, 'group_matcher'):
        message = f'timm has no groups of the parameters of {model_name}, which freezing and decay need.'
        raise UserError(message, network=model_name)
    return group_parameters(whole, whole.group_matcher(coarse=False), reverse=True)


def _with_norms(model: nn.Module, model_name: str, norm_cfg: Mapping[str, Any] | None, norm_eval: bool) -> Any:
    """Returns the network with the BatchNorms that ``norm_cfg`` asks for."""
    cfg = dict(norm_cfg or dict(type='BN'))
    kind, requires_grad = cfg.pop('type', None), cfg.pop('requires_grad', True)
    if cfg or kind not in ('BN', 'SyncBN') or not isinstance(requires_grad, bool):
        raise UserError(
            f"norm_cfg={norm_cfg!r} must be dict(type='BN') or dict(type='SyncBN'), with requires_grad=True or False: "
            "eps and momentum are those of the network's pre-training.",
            argument='norm_cfg',
        )
    if kind == 'SyncBN':
        if not any(batch_norms(model)):
            raise UserError(
                f"norm_cfg={norm_cfg!r}: {model_name} has no BatchNorm. Write norm_cfg=dict(type='BN').",
                argument='norm_cfg',
            )
        if norm_eval:
            raise UserError(
                f'norm_cfg={norm_cfg!r} with norm_eval=True: statistics that are kept need no synchronization. Set '
                "norm_eval=False, or norm_cfg=dict(type='BN').",
                argument='norm_eval',
            )
        from timm.layers import convert_sync_batchnorm

        model = convert_sync_batchnorm(model)  # PyTorch's own would drop the activation of timm's BatchNormAct2d
    for module in batch_norms(model):
        module.requires_grad_(requires_grad)
    return model
