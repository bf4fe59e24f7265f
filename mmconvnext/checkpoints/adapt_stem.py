"""Adapts the stem to images with another number of channels than the checkpoint's."""

from typing import Literal

import torch
from torch import Tensor

from mmconvnext.checkpoints.errors import CheckpointError

StemPolicy = Literal['repeat', 'zero', 'refuse']


def adapt_stem(weight: Tensor, in_channels: int, policy: StemPolicy, source: str) -> Tensor:
    """Returns the stem's weight for images with ``in_channels`` channels.

    With either policy an image whose old channels are all equal gets the response that it had.

    Args:
        weight: (C, channels, 4, 4).
        in_channels: The new number of channels.
        policy: ``repeat`` copies the old filters to the new channels in turn, divided by the number of copies; fewer
            channels each get an equal share of the sum of the old filters. ``zero`` keeps the old filters for the first
            channels, and starts the additional ones from zero. ``refuse`` raises an error.
        source: The file's name for messages.

    Returns:
        (C, in_channels, 4, 4).

    Raises:
        CheckpointError: If the policy is ``refuse``, or ``zero`` with fewer channels.
    """
    channels = weight.shape[1]
    if policy == 'repeat' and in_channels < channels:
        return weight.sum(1, keepdim=True).div(in_channels).repeat(1, in_channels, 1, 1)
    if policy == 'repeat':
        old = torch.arange(in_channels) % channels  # the old channel that each new one copies
        return weight[:, old] / torch.bincount(old)[old].to(weight).view(1, -1, 1, 1)
    if policy == 'zero' and in_channels > channels:
        return torch.cat([weight, weight.new_zeros(weight.shape[0], in_channels - channels, *weight.shape[2:])], 1)
    message = (
        f'{source} is for images of {channels} channels, and the backbone has in_channels={in_channels}, which '
        f"adapt_stem={policy!r} does not allow. Set in_channels={channels}, or adapt_stem='repeat' in the init_cfg."
    )
    raise CheckpointError(message, file=source, in_channels=channels, adapt_stem=policy)
