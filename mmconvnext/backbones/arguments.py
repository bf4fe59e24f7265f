"""Checks of ConvNeXt's arguments and input.

Each function returns an argument in the form that the backbone uses, or raises a :class:`UserError` that says what is
allowed. NumPy's numbers and arrays are accepted, and what the caller gave is never changed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.model import PretrainedInit
from torch import Tensor

from mmconvnext.errors import UserError

NAMES = (
    'arch, version, in_channels, out_indices, drop_path_rate, layer_scale_init_value, frozen_stages, with_cp, init_cfg'
)
OTHER_SPELLINGS = {
    'in_chans': 'in_channels',
    'depths': 'arch=dict(depths=..., widths=...)',
    'dims': 'arch=dict(depths=..., widths=...)',
    'use_grn': 'version=2',
    'pretrained': "init_cfg=dict(type='ConvNeXtPretrained', checkpoint=...)",
}
# Arguments of MMPretrain's ConvNeXt, which configs of MMDetection and MMSegmentation give: the values that describe
# this backbone, and why it has no others
OF_MMPRETRAIN: dict[str, tuple[tuple[Any, ...], str]] = {
    'gap_before_final_norm': ((False,), 'outputs are feature maps, which are not pooled'),
    'linear_pw_conv': ((True, False), 'a linear layer and a 1x1 convolution give the same numbers'),
    'stem_patch_size': ((4,), "the stem is the papers' 4x4 convolution"),
    'norm_cfg': (
        ({'type': 'LN2d', 'eps': 1e-6}, {'type': 'LN2d'}, {'type': 'LN', 'eps': 1e-6}),
        "every norm is the papers' LayerNorm, with eps=1e-6",
    ),
    'act_cfg': (({'type': 'GELU'},), "the activation is the papers' exact GELU"),
    'norm_eval': ((False,), 'LayerNorm has no running statistics to freeze; frozen_stages freezes weights'),
}


def check_unknown(unknown: Mapping[str, Any], version: object, frozen_stages: object) -> None:
    """Refuses arguments that the backbone does not have, except values of MMPretrain's that change nothing.

    Raises:
        UserError: If there is another one; the message has the right spelling if there is one.
    """
    for name, value in unknown.items():
        if name == 'use_grn' and value == (version == 2):
            continue
        if name in OF_MMPRETRAIN:
            allowed, reason = OF_MMPRETRAIN[name]
            if value in allowed:
                continue
            raise UserError(
                f"{name}={value!r} of MMPretrain's ConvNeXt is not possible here: {reason}. Leave it out.",
                argument=name,
            )
        hint = f'; write {OTHER_SPELLINGS[name]}' if name in OTHER_SPELLINGS else ''
        raise UserError(f'ConvNeXt has no argument {name!r}{hint}. Its arguments are {NAMES}.', argument=name)
    if unknown and frozen_stages == 0:
        raise UserError(
            "frozen_stages=0 freezes nothing in MMPretrain's ConvNeXt, whose arguments this config has, but the stem "
            'here. Write frozen_stages=-1 to freeze nothing; to freeze the stem, leave out the MMPretrain arguments.',
            argument='frozen_stages',
        )


def checked(name: str, value: Any, kinds: Sequence[type], is_allowed: Callable[[Any], bool], meaning: str) -> Any:
    """Returns a bool or a number, also of NumPy, as Python's.

    Args:
        name: Of the argument.
        value: What the user gave.
        kinds: The types that it may have.
        is_allowed: Tells whether a value of these types is allowed.
        meaning: What is allowed, in words. It completes "must be" in the error.
    """
    plain = value.item() if isinstance(value, np.generic) else value
    if type(plain) not in kinds or not is_allowed(plain):
        raise UserError(f'{name}={value!r} must be {meaning}.', argument=name)
    return plain


def integers(name: str, values: Any, is_allowed: Callable[[int], bool], meaning: str) -> tuple[int, ...]:
    """Returns a sequence or a one-dimensional array of integers as a tuple; the arguments are those of `checked`."""
    listed = values.tolist() if isinstance(values, np.ndarray | Tensor) else values
    if not isinstance(listed, Sequence) or isinstance(listed, str | bytes):
        raise UserError(f'{name}={values!r} must be {meaning}.', argument=name)
    return tuple(checked(f'{name}[{i}]', value, [int], is_allowed, meaning) for i, value in enumerate(listed))


def stages(out_indices: object, num_stages: int) -> tuple[int, ...]:
    """Returns ``out_indices`` in ascending order; negative indices count from the last of ``num_stages``."""
    meaning = f'one or more different stages, each from {-num_stages} to {num_stages - 1}'
    indices = integers('out_indices', out_indices, lambda i: -num_stages <= i < num_stages, meaning)
    ascending = tuple(sorted({i % num_stages for i in indices}))
    if not indices or len(ascending) != len(indices):
        raise UserError(f'out_indices={out_indices!r} must be {meaning}.', argument='out_indices')
    return ascending


def frozen_stages(value: object, out_indices: Sequence[int]) -> int:
    """Returns ``frozen_stages`` of a backbone that builds its stages up to the last of ``out_indices``."""
    num_stages = out_indices[-1] + 1
    meaning = (
        f'-1 (nothing), 0 (the stem) or up to {num_stages} (the stem and as many of the {num_stages} stages that '
        f'out_indices={out_indices} builds)'
    )
    return checked('frozen_stages', value, [int], lambda n: -1 <= n <= num_stages, meaning)


def drop_path_rate(value: object) -> float:
    """Returns the rate of stochastic depth."""
    meaning = 'a number, at least 0 and less than 1'
    return checked('drop_path_rate', value, (int, float), lambda p: 0 <= p < 1, meaning)


def layer_scale(value: object, version: int) -> float:
    """Returns what each entry of layer scale starts from, 0 for no layer scale. None is the papers' value."""
    if value is None:
        return 1e-6 if version == 1 else 0.0
    meaning = "0 (no layer scale) or a positive number, or None for the paper's"
    start = checked('layer_scale_init_value', value, (int, float), lambda v: 0 <= v < float('inf'), meaning)
    if version == 2 and start != 0:
        raise UserError(
            f'layer_scale_init_value={value!r} contradicts version=2: ConvNeXt V2 has no layer scale. Leave it out, or '
            'set it to None in a config that inherits it.',
            argument='layer_scale_init_value',
        )
    return float(start)


def initializers(init_cfg: object) -> list[dict] | None:
    """Returns ``init_cfg`` as a list, with this package's loader in place of MMEngine's ``Pretrained``.

    MMEngine's loads what fits and only logs the rest. What loads a checkpoint is moved to the end, as MMEngine does:
    other initializers would overwrite the loaded weights.
    """
    if init_cfg is None:
        return None
    cfgs = [init_cfg] if isinstance(init_cfg, dict) else init_cfg
    if not isinstance(cfgs, list | tuple) or not all(isinstance(cfg, dict) and 'type' in cfg for cfg in cfgs):
        raise UserError(
            f'init_cfg={init_cfg!r} must be a dictionary with a type, such as '
            "dict(type='ConvNeXtPretrained', checkpoint=...), a list of such dictionaries, or None.",
            argument='init_cfg',
        )
    ours = {'type': 'ConvNeXtPretrained'}
    resolved = [{**cfg, **ours} if cfg['type'] in ('Pretrained', PretrainedInit) else cfg for cfg in cfgs]
    return sorted(resolved, key=lambda cfg: 'checkpoint' in cfg) or None


@torch.fx.wrap  # torch.fx cannot trace the comparisons, so it records the call
def check_input(x: Tensor, in_channels: int, last_stage: int) -> None:
    """Refuses an input that is not (B, in_channels, H, W), or too small for the last stage.

    Raises:
        UserError: If it is. Under ``torch.jit.trace``, whose shapes are tensors, nothing is checked.
    """
    if torch.jit.is_tracing():
        return
    if x.ndim != 4 or x.shape[1] != in_channels:
        raise UserError(
            f'the input must be (B, {in_channels}, H, W), not {tuple(x.shape)}; for images of another number of '
            'channels set in_channels of the backbone.',
            shape=tuple(x.shape),
        )
    stride = 4 * 2**last_stage
    if min(x.shape[2:]) < stride:
        raise UserError(
            f'the input is {x.shape[2]} x {x.shape[3]} pixels; stage {last_stage} has stride {stride}, so both sides '
            f'must be at least {stride}. Enlarge or pad the image, or leave later stages out of out_indices.',
            shape=tuple(x.shape),
            stride=stride,
        )
