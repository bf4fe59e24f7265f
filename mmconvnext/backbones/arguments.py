"""The checks of what ConvNeXt is built with and called with.

Each returns an argument as the backbone uses it, or raises a ``ValueError`` that says what is allowed. NumPy's numbers
and arrays are taken like Python's; nothing of the caller's is changed.
"""

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from mmengine.model import PretrainedInit
from torch import Tensor

from mmconvnext.errors import UserError

NAMES = (
    'arch, version, in_channels, out_indices, drop_path_rate, layer_scale_init_value, frozen_stages, with_cp, init_cfg'
)
OLD_SPELLINGS = {
    'in_chans': 'in_channels',
    'depths': 'arch=dict(depths=..., widths=...)',
    'dims': 'arch=dict(depths=..., widths=...)',
    'use_grn': 'version=2',
    'pretrained': "init_cfg=dict(type='ConvNeXtPretrained', checkpoint=...)",
}
# Arguments of MMPretrain's ConvNeXt, which MMDetection's and MMSegmentation's configs give, with the values that change
# nothing here, and what the others would mean
OF_MMPRETRAIN: dict[str, tuple[tuple[Any, ...], str]] = {
    'gap_before_final_norm': ((False,), 'every output here is a map, which is not pooled'),
    'linear_pw_conv': ((True, False), ''),  # the same product on each pixel, by another layer
    'stem_patch_size': ((4,), 'the stem here is the 4x4 convolution of the papers'),
    'norm_cfg': (
        ({'type': 'LN2d', 'eps': 1e-6}, {'type': 'LN2d'}, {'type': 'LN', 'eps': 1e-6}),
        'every norm here is the LayerNorm of the papers, with eps=1e-6',
    ),
    'act_cfg': (({'type': 'GELU'},), 'the activation here is the exact GELU of the papers'),
    'norm_eval': ((False,), 'LayerNorm has no statistics to freeze; frozen_stages freezes weights'),
}


def as_integer(value: object) -> int | None:
    """Returns ``value`` as a Python integer, or None if it is none; a bool is none."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None


def as_real(value: object) -> float | None:
    """Returns ``value`` as a finite float, or None if it is none; a bool is none."""
    if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
        return None
    return float(value)


def as_integers(values: object) -> tuple[int, ...] | None:
    """Returns a sequence of integers as a tuple, or None if it is none. One-dimensional arrays and tensors are."""
    listed = values.tolist() if isinstance(values, np.ndarray | Tensor) else values
    if not isinstance(listed, Sequence) or isinstance(listed, str | bytes):
        return None
    integers = tuple(integer for integer in map(as_integer, listed) if integer is not None)
    return integers if len(integers) == len(listed) else None


def refuse_unknown(unknown: Mapping[str, Any], version: object) -> None:
    """Refuses keyword arguments that the backbone does not have, with its own spelling where there is one.

    Those of MMPretrain's ConvNeXt may have the values that change nothing.
    """
    for name, value in unknown.items():
        if name == 'use_grn' and value == (version == 2):
            continue
        if name in OF_MMPRETRAIN:
            same, meaning = OF_MMPRETRAIN[name]
            if value in same:
                continue
            raise UserError(
                f"{name}={value!r} is an argument of MMPretrain's ConvNeXt that has no other value here than "
                f'{same[0]!r}: {meaning}. Leave it out.',
                argument=name,
            )
        hint = f'; it is spelled {OLD_SPELLINGS[name]} here' if name in OLD_SPELLINGS else ''
        raise UserError(f'ConvNeXt has no argument {name!r}{hint}. Its arguments are {NAMES}.', argument=name)


def refuse_frozen_stages_of_mmpretrain(frozen_stages: object) -> None:
    """Refuses 0 beside arguments of MMPretrain's ConvNeXt, which freezes nothing there and the stem here."""
    if as_integer(frozen_stages) == 0:
        raise UserError(
            "frozen_stages=0 freezes nothing in MMPretrain's ConvNeXt, whose arguments this config has, and the stem "
            'here. Write frozen_stages=-1 for nothing; for the stem, leave out the arguments of MMPretrain.',
            argument='frozen_stages',
        )


def resolve_version(version: object) -> int:
    """Returns 1 or 2."""
    resolved = as_integer(version)
    if resolved not in (1, 2):
        raise UserError(f'version={version!r} must be 1 (layer scale) or 2 (global response normalization).')
    return resolved


def resolve_in_channels(in_channels: object) -> int:
    """Returns the number of channels of the input image."""
    resolved = as_integer(in_channels)
    if resolved is None or resolved < 1:
        raise UserError(f'in_channels={in_channels!r} must be a positive integer.')
    return resolved


def resolve_out_indices(out_indices: object, num_stages: int) -> tuple[int, ...]:
    """Returns the stages in ascending order, negative ones counted from the last of ``num_stages``."""
    allowed = f'a non-empty sequence of different stages, each from {-num_stages} to {num_stages - 1}'
    indices = as_integers(out_indices)
    if not indices or not all(-num_stages <= i < num_stages for i in indices):
        raise UserError(f'out_indices={out_indices!r} must be {allowed}.')
    resolved = tuple(sorted({i % num_stages for i in indices}))
    if len(resolved) != len(indices):
        raise UserError(f'out_indices={out_indices!r} names a stage twice; it must be {allowed}.')
    return resolved


def resolve_drop_path_rate(drop_path_rate: object) -> float:
    """Returns the stochastic depth of the last block."""
    resolved = as_real(drop_path_rate)
    if resolved is None or not 0 <= resolved < 1:
        raise UserError(f'drop_path_rate={drop_path_rate!r} must be a number, at least 0 and less than 1.')
    return resolved


def resolve_layer_scale(layer_scale_init_value: object, version: int) -> float:
    """Returns what layer scale starts from, 0 for none; None is the paper's 1e-6 in V1, and none in V2."""
    if layer_scale_init_value is None:
        return 1e-6 if version == 1 else 0.0
    resolved = as_real(layer_scale_init_value)
    if resolved is None or resolved < 0:
        raise UserError(
            f'layer_scale_init_value={layer_scale_init_value!r} must be a finite number, 0 (no layer scale) or more, '
            "or None for the paper's value."
        )
    if version == 2 and resolved != 0:
        raise UserError(
            f'layer_scale_init_value={layer_scale_init_value!r} contradicts version=2: ConvNeXt V2 has no layer '
            'scale. Leave it out, or set it to None in a config that inherits it.'
        )
    return resolved


def resolve_frozen_stages(frozen_stages: object, out_indices: tuple[int, ...]) -> int:
    """Returns -1, or the number of stages frozen with the stem, at most those that ``out_indices`` builds."""
    num_stages = out_indices[-1] + 1
    resolved = as_integer(frozen_stages)
    if resolved is None or not -1 <= resolved <= num_stages:
        raise UserError(
            f'frozen_stages={frozen_stages!r} must be -1 (nothing), 0 (the stem) or up to {num_stages} (the stem '
            f'and that many stages; out_indices={out_indices} builds {num_stages}).'
        )
    return resolved


def resolve_with_cp(with_cp: object) -> bool:
    """Returns whether blocks are recomputed in the backward pass."""
    if not isinstance(with_cp, bool | np.bool_):
        raise UserError(f'with_cp={with_cp!r} must be True (recompute blocks, to save memory) or False.')
    return bool(with_cp)


def resolve_init_cfg(init_cfg: object) -> list[dict] | None:
    """Returns MMEngine's initialization as a list, with this package's loader in place of MMEngine's.

    MMEngine's ``Pretrained`` would load what fits, and only log the rest. As in MMEngine, what names a checkpoint comes
    last, whatever its place in the list: other initializers would overwrite the weights.
    """
    if init_cfg is None:
        return None
    cfgs = [init_cfg] if isinstance(init_cfg, dict) else init_cfg
    if not isinstance(cfgs, list | tuple) or not all(isinstance(cfg, dict) and 'type' in cfg for cfg in cfgs):
        raise UserError(
            f'init_cfg={init_cfg!r} must be a dictionary with a type, such as '
            "dict(type='ConvNeXtPretrained', checkpoint=...), a list of such dictionaries, or None."
        )
    ours = {'type': 'ConvNeXtPretrained'}
    resolved = [{**cfg, **ours} if cfg['type'] in ('Pretrained', PretrainedInit) else cfg for cfg in cfgs]
    return sorted(resolved, key=lambda cfg: 'checkpoint' in cfg) or None


@torch.fx.wrap  # to torch.fx it is one call, since shapes are symbols there
def check_input(x: Tensor, in_channels: int, last_stage: int) -> None:
    """Refuses an input that is not (B, in_channels, H, W), or too small to reach the last stage built.

    ``torch.jit.trace`` records no check, so it makes none: its shapes are tensors.
    """
    if torch.jit.is_tracing():
        return
    if x.ndim != 4 or x.shape[1] != in_channels:
        raise UserError(
            f'the input must be (B, {in_channels}, H, W), not {tuple(x.shape)}; for images of another number of '
            'channels set in_channels of the backbone.'
        )
    stride = 4 * 2**last_stage
    if min(x.shape[2:]) < stride:
        raise UserError(
            f'the input is {x.shape[2]} x {x.shape[3]} pixels; stage {last_stage} has stride {stride}, so both sides '
            f'must be at least {stride}. Enlarge or pad the image, or leave later stages out of out_indices.'
        )
