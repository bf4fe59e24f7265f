"""The stem for images of other channels than the checkpoint's."""

from typing import Literal

import torch
from torch import Tensor

from mmconvnext.checkpoints.errors import CheckpointError

StemPolicy = Literal['repeat', 'zero', 'refuse']


def adapt_stem(weight: Tensor, in_channels: int, policy: StemPolicy, source: str) -> Tensor:
    """The stem's weight for images of another number of channels.

    Whatever the policy, an image whose old channels are all alike gives the response that it gave.

    Args:
        weight: (C, channels, 4, 4).
        in_channels: The new number of channels.
        policy: ``repeat`` makes each new channel like one of the old, in turn, and shares its weight among those that
            are alike; fewer channels each get an equal share of the sum. ``zero`` keeps the old channels, which come
            first, and starts the others from zero. ``refuse`` allows no other number.
        source: What messages call the file.

    Returns:
        (C, in_channels, 4, 4).

    Raises:
        CheckpointError: If the policy does not allow it.
    """
    channels = weight.shape[1]
    if policy == 'repeat' and in_channels < channels:
        return weight.sum(1, keepdim=True).div(in_channels).repeat(1, in_channels, 1, 1)
    if policy == 'repeat':
        like = torch.arange(in_channels) % channels  # the old channel that each new one is like
        return weight[:, like] / torch.bincount(like)[like].to(weight).view(1, -1, 1, 1)
    if policy == 'zero' and in_channels > channels:
        return torch.cat([weight, weight.new_zeros(weight.shape[0], in_channels - channels, *weight.shape[2:])], 1)
    raise CheckpointError(
        f'{source} is for images of {channels} channels, and the backbone has in_channels={in_channels}, which '
        f"adapt_stem={policy!r} does not allow. Set in_channels={channels}, or adapt_stem='repeat' in the init_cfg."
    )
