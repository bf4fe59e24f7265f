"""At the papers' sizes the same weights give the outputs, and the gradients, of the code bases that they come from.

tests/checkpoints/test_peers.py has every layout that a peer can have, at a toy size.
"""

import pytest
import timm
import torch
import torchvision
from torch import nn

from mmconvnext.backbones import ARCHS, ConvNeXt
from mmconvnext.checkpoints import convert, load_pretrained
from tests.peers import installed, mmpretrain_convnext, torchvision_stages

V1 = [(1, 'tiny'), (1, 'small'), (1, 'base')]
V2 = [(2, 'atto'), (2, 'nano'), (2, 'tiny')]
X = (2, 3, 64, 96)
TOLERANCE = 1e-4


def randomize(model: nn.Module) -> nn.Module:
    """Gives every parameter values that show in the outputs, which stay near 1 however deep the network is."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.numel() > max(parameter.shape):  # a matrix or kernel: keeps the variance of its input
                nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
            else:  # layer scale and GRN's two vectors too
                is_scale = isinstance(module, nn.LayerNorm) and name == 'weight'
                nn.init.normal_(parameter, mean=float(is_scale), std=0.3)
    model.eval()  # which MMPretrain's does not return
    return model


def timm_peer(version, arch, _):
    name = f'convnext{"v2" if version == 2 else ""}_{arch}'
    peer = randomize(timm.create_model(name, num_classes=5))
    return peer, lambda x: peer.forward_intermediates(x, intermediates_only=True)


def torchvision_peer(version, arch, _):
    peer = randomize(torchvision.models.get_model(f'convnext_{arch}', num_classes=5))
    return peer, lambda x: torchvision_stages(peer, x)


def hugging_face_peer(version, arch, _):
    transformers = installed('transformers')
    name = 'ConvNext' if version == 1 else 'ConvNextV2'
    sizes = ARCHS[arch]
    config = getattr(transformers, f'{name}Config')(hidden_sizes=list(sizes.widths), depths=list(sizes.depths))
    peer = randomize(getattr(transformers, f'{name}ForImageClassification')(config))
    return peer, lambda x: peer(x, output_hidden_states=True).hidden_states[1:]


def mmpretrain_peer(version, arch, monkeypatch):
    v2 = dict(use_grn=True, layer_scale_init_value=0.0) if version == 2 else {}
    peer = randomize(
        mmpretrain_convnext(monkeypatch)(arch=arch, out_indices=[0, 1, 2, 3], gap_before_final_norm=False, **v2)
    )
    return peer, peer


PEERS = [pytest.param(timm_peer, *size) for size in V1 + V2]
PEERS += [pytest.param(torchvision_peer, *size) for size in V1]
PEERS += [
    pytest.param(peer, *size, marks=pytest.mark.peers)
    for peer in (hugging_face_peer, mmpretrain_peer)
    for size in V1 + V2
]


def from_peer(peer, version, arch, tmp_path):
    """This package's backbone with the peer's weights; without its output norms where the peer has none."""
    ours = ConvNeXt(arch, version).eval()
    state = peer.state_dict()
    torch.save(state, tmp_path / 'peer.pth')
    load_pretrained(ours, tmp_path / 'peer.pth')
    if 'norm0.weight' not in state:
        for i in range(4):
            setattr(ours, f'norm{i}', nn.Identity())
    return ours


@pytest.mark.slow
@pytest.mark.parametrize(('build', 'version', 'arch'), PEERS)
def test_outputs(build, version, arch, tmp_path, monkeypatch):
    peer, stages = build(version, arch, monkeypatch)
    ours = from_peer(peer, version, arch, tmp_path)
    x = torch.randn(X)
    with torch.no_grad():
        differences = []
        for a, b in zip(stages(x), ours(x), strict=True):
            assert a.shape == b.shape
            assert a.std() > 0.3  # so that the tolerance is one of outputs, not of zeros
            differences.append((a - b).abs().max().item())
    print(f'greatest difference {max(differences):.1e}')  # shown by pytest -rP
    assert max(differences) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(('version', 'arch', 'dialect'), [(1, 'tiny', 'timm'), (2, 'atto', 'timm_conv_mlp')])
def test_gradients(version, arch, dialect, tmp_path):
    peer, stages = timm_peer(version, arch, None)
    ours = from_peer(peer, version, arch, tmp_path)
    x = torch.randn(X)
    weights = [torch.randn(shape) for shape in (out.shape for out in ours(x))]

    def gradients(model, outputs):
        image = x.clone().requires_grad_()
        sum((out * weight).sum() for out, weight in zip(outputs(image), weights, strict=True)).backward()
        return image.grad, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    their_image, theirs = gradients(peer, stages)
    image, own = gradients(ours, ours)
    assert own.keys() == dict(ours.named_parameters()).keys()
    converted = convert(own, dialect).state  # to their names and layouts, as the weights would be
    assert converted.keys() == theirs.keys()
    converted['the image'], theirs['the image'] = image, their_image
    relative = {n: ((converted[n] - theirs[n]).norm() / theirs[n].norm()).item() for n in theirs}
    worst = max(relative, key=relative.get)
    print(f'greatest relative difference {relative[worst]:.1e}, of {worst}')
    assert relative[worst] <= TOLERANCE, worst
