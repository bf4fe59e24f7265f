"""Times FCMAE's training step: only the visible cells, against whole maps that are masked. Both give the same numbers.

In the masked form every layer runs on the whole map. Masks around each depthwise convolution and in GRN's norm keep the
hidden cells out. Most code other than the authors' computes FCMAE in this way.
"""

import argparse
import copy

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import arguments, timing
from mmconvnext.backbones.sizes import ARCHS
from mmconvnext.pretraining.fcmae import FCMAE
from mmconvnext.pretraining.masked_convnext import MaskedConvNeXt
from mmconvnext.pretraining.visible_cells import VisibleCells


class WholeMaps(MaskedConvNeXt):
    """The same network, but it computes the hidden cells too."""

    def forward(self, images: Tensor, visible: VisibleCells) -> Tensor:  # type: ignore[override]  # as in its base
        """Computes the last stage, (B, C, rows, columns), which is 0 at masked cells."""
        x = images.contiguous(memory_format=torch.channels_last)
        for number, (downsample, stage) in enumerate(zip(self.downsample_layers, self.stages)):
            x = downsample(x)
            shown = 1 - F.interpolate(visible.mask(), size=x.shape[2:])  # (B, 1, H, W)
            x = x * shown if number == 0 else x
            for block in stage:
                branch = (block.dwconv(x * shown) * shown).permute(0, 2, 3, 1)
                h = F.gelu(block.pwconv1(block.norm(branch)))
                norms = torch.linalg.vector_norm(h * shown.permute(0, 2, 3, 1), dim=(1, 2), keepdim=True)
                h = torch.addcmul(
                    block.grn.beta, h, 1 + block.grn.gamma * norms / (norms.mean(-1, keepdim=True) + 1e-6)
                )
                x = x + block.pwconv2(h).permute(0, 3, 1, 2)
        return x * shown


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--arch', default='tiny', choices=ARCHS, metavar='ARCH', help='size name (default: tiny)')
    parser.add_argument('--size', type=arguments.size, default=(224, 224), metavar='HEIGHT[xWIDTH]')
    parser.add_argument('--batch', type=arguments.count, default=8)
    parser.add_argument('--rounds', type=arguments.count, default=9)
    args = parser.parse_args()
    print(', '.join(f'{key} {value}' for key, value in timing.machine().items()))

    torch.manual_seed(0)
    visible_cells = FCMAE(dict(type='ConvNeXt', version=2, arch=args.arch))
    with torch.no_grad():
        for parameter in visible_cells.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    whole_maps = copy.deepcopy(visible_cells)
    whole_maps.encoder = WholeMaps(version=2, arch=args.arch)
    whole_maps.load_state_dict(visible_cells.state_dict())
    models = {'visible cells alone': visible_cells, 'whole maps, masked': whole_maps}
    images = torch.randn(args.batch, 3, *args.size)

    def step(model: FCMAE) -> Tensor:
        torch.manual_seed(0)  # the same masks
        model.zero_grad(set_to_none=True)
        loss = model(images, mode='loss')['loss']
        loss.backward()
        return loss

    losses = {name: step(model).item() for name, model in models.items()}
    if abs(1 - losses['visible cells alone'] / losses['whole maps, masked']) > 1e-4:
        raise ValueError(f'the losses differ: {losses}')
    times = timing.interleaved({name: lambda m=model: step(m) for name, model in models.items()}, args.rounds)
    slowest = times['whole maps, masked'].median
    print(f'\nFCMAE {args.arch}, forward and backward, {args.batch}x3x{args.size[0]}x{args.size[1]}, fp32')
    for name, taken in times.items():
        print(
            f'{name:<22} {1000 * taken.median:7.0f} ms, spread {100 * taken.spread:.0f} %, '
            f'{slowest / taken.median:.2f}x'
        )


if __name__ == '__main__':
    main()
