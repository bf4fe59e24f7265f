"""The published weights by short name: URL, training data, accuracy and licence.

Sources of URLs and figures: the READMEs of facebookresearch/ConvNeXt, of its object_detection and
semantic_segmentation folders (as in arXiv 2201.03545, tables 1, 3 and 4), and of facebookresearch/ConvNeXt-V2 (as in
arXiv 2301.00808); for DINOv3, hub/backbones.py of facebookresearch/dinov3 and the model cards. Accuracies are those
that the authors give for the file, if they give any.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

SERVER = 'https://dl.fbaipublicfiles.com/convnext/'
DINOV3_PAGE = 'https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/'


@dataclass(frozen=True)
class Weights:
    """A file of published weights.

    Args:
        name: The short name, which can replace a path wherever a checkpoint is given.
        arch: Size of the ConvNeXt.
        version: 1 or 2.
        data: Training data, in the order of use.
        side: Side of the training images or crops in pixels, or None if it varies.
        file: Name of the file.
        url: URL of the file, or None if it is only given out on request.
        licence: Licence of the weights.
        published: Accuracies in percent by metric.
    """

    name: str
    arch: str
    version: int
    data: str
    side: int | None
    file: str
    url: str | None
    licence: str
    published: Mapping[str, float]

    @property
    def how_to_get(self) -> str:
        """How to get weights without a URL."""
        return (
            f'accept the licence on {DINOV3_PAGE}, download {self.file} and give its path; or, with an account that '
            f"has access, use checkpoint='hf-hub:facebook/dinov3-convnext-{self.arch}-pretrain-lvd1689m'"
        )


def find(checkpoint: str) -> Weights | None:
    """Returns the entry of a checkpoint, which may be a short name, timm's copy on the Hugging Face hub (which has the
    same name), or a URL or path that ends in the published file's name."""
    last = PurePosixPath(checkpoint).name
    if checkpoint.startswith('hf-hub:'):
        return MANIFEST.get(last.partition('@')[0])
    return MANIFEST.get(checkpoint) or _BY_FILE.get(last)


def _on_server(
    name: str, arch: str, version: int, data: str, side: int | None, path: str, published: Mapping[str, float]
) -> Weights:
    file, licence = PurePosixPath(path).name, 'MIT' if version == 1 else 'CC-BY-NC 4.0'
    return Weights(name, arch, version, data, side, file, SERVER + path, licence, published)


def _v1() -> Iterator[Weights]:
    # Top-1 at 224 and at 384 pixels, trained on ImageNet-1k, then on ImageNet-22k and 1k
    table = {
        'tiny': (82.1, None, 82.9, 84.1),
        'small': (83.1, None, 84.6, 85.8),
        'base': (83.8, 85.1, 85.8, 86.8),
        'large': (84.3, 85.5, 86.6, 87.5),
        'xlarge': (None, None, 87.0, 87.8),
    }
    for arch, (top_1k, top_1k_384, top_22k, top_22k_384) in table.items():
        net = f'convnext_{arch}'
        if top_1k:
            # The authors start detectors and segmentors from the first, and give the accuracy of the second
            yield _on_server(f'{net}.in1k', arch, 1, 'ImageNet-1k', 224, f'{net}_1k_224.pth', {})
            yield _on_server(f'{net}.in1k_ema', arch, 1, 'ImageNet-1k', 224, f'{net}_1k_224_ema.pth', {'top-1': top_1k})
        if top_1k_384:
            yield _on_server(f'{net}.in1k_384', arch, 1, 'ImageNet-1k', 384, f'{net}_1k_384.pth', {'top-1': top_1k_384})
        yield _on_server(f'{net}.in22k', arch, 1, 'ImageNet-22k', 224, f'{net}_22k_224.pth', {})
        tag, data, end = 'in22k_ft_in1k', 'ImageNet-22k, 1k', '_ema.pth' if arch == 'xlarge' else '.pth'
        yield _on_server(f'{net}.{tag}', arch, 1, data, 224, f'{net}_22k_1k_224{end}', {'top-1': top_22k})
        yield _on_server(f'{net}.{tag}_384', arch, 1, data, 384, f'{net}_22k_1k_384{end}', {'top-1': top_22k_384})


def _v2() -> Iterator[Weights]:
    # Top-1 fine-tuned on ImageNet-1k at 224 pixels; and on ImageNet-22k and then 1k, by side
    table: dict[str, tuple[float, dict[int, float]]] = {
        'atto': (76.7, {}),
        'femto': (78.5, {}),
        'pico': (80.3, {}),
        'nano': (81.9, {224: 82.1, 384: 83.4}),
        'tiny': (83.0, {224: 83.9, 384: 85.1}),
        'base': (84.9, {224: 86.8, 384: 87.7}),
        'large': (85.8, {224: 87.3, 384: 88.2}),
        'huge': (86.3, {384: 88.7, 512: 88.9}),
    }
    for arch, (top_1k, top_22k) in table.items():
        net, root = f'convnextv2_{arch}', 'convnextv2'
        file = f'{root}/pt_only/{net}_1k_224_fcmae.pt'
        yield _on_server(f'{net}.fcmae', arch, 2, 'FCMAE on ImageNet-1k', 224, file, {})
        file = f'{root}/im1k/{net}_1k_224_ema.pt'
        yield _on_server(f'{net}.fcmae_ft_in1k', arch, 2, 'FCMAE, ImageNet-1k', 224, file, {'top-1': top_1k})
        for side, top1 in top_22k.items():
            tag = 'fcmae_ft_in22k_in1k' + (f'_{side}' if side > 224 else '')
            file = f'{root}/im22k/{net}_22k_{side}_ema.pt'
            yield _on_server(f'{net}.{tag}', arch, 2, 'FCMAE, ImageNet-22k, 1k', side, file, {'top-1': top1})


def _detectors() -> Iterator[Weights]:
    # The short names are those of the configs
    table = {
        'mask_rcnn_convnext_t_3x': ('tiny', 'mask_rcnn_convnext_tiny_1k_3x', 46.2, 41.7),
        'cascade_convnext_t_3x': ('tiny', 'cascade_mask_rcnn_convnext_tiny_1k_3x', 50.4, 43.7),
        'cascade_convnext_s_3x': ('small', 'cascade_mask_rcnn_convnext_small_1k_3x', 51.9, 45.0),
        'cascade_convnext_b_3x': ('base', 'cascade_mask_rcnn_convnext_base_1k_3x', 52.7, 45.6),
        'cascade_convnext_b_in22k_3x': ('base', 'cascade_mask_rcnn_convnext_base_22k_3x', 54.0, 46.9),
        'cascade_convnext_l_in22k_3x': ('large', 'cascade_mask_rcnn_convnext_large_22k_3x', 54.8, 47.6),
        'cascade_convnext_xl_in22k_3x': ('xlarge', 'cascade_mask_rcnn_convnext_xlarge_22k_3x', 55.2, 47.7),
    }
    for name, (arch, stem, box, mask) in table.items():
        data = f'ImageNet-{"22k" if "22k" in name else "1k"}, COCO'
        yield _on_server(name, arch, 1, data, None, f'coco/{stem}.pth', {'box AP': box, 'mask AP': mask})


def _segmentors() -> Iterator[Weights]:
    table = {
        'upernet_convnext_t_160k': ('tiny', 'upernet_convnext_tiny_1k_512x512', 46.0, 46.7),
        'upernet_convnext_s_160k': ('small', 'upernet_convnext_small_1k_512x512', 48.7, 49.6),
        'upernet_convnext_b_160k': ('base', 'upernet_convnext_base_1k_512x512', 49.1, 49.9),
        'upernet_convnext_b_in22k_640_160k': ('base', 'upernet_convnext_base_22k_640x640', 52.6, 53.1),
        'upernet_convnext_l_in22k_640_160k': ('large', 'upernet_convnext_large_22k_640x640', 53.2, 53.7),
        'upernet_convnext_xl_in22k_640_160k': ('xlarge', 'upernet_convnext_xlarge_22k_640x640', 53.6, 54.0),
    }
    for name, (arch, stem, single, multi) in table.items():
        data, side = ('ImageNet-22k, ADE20K', 640) if '22k' in name else ('ImageNet-1k, ADE20K', 512)
        yield _on_server(name, arch, 1, data, side, f'ade20k/{stem}.pth', {'mIoU': single, 'multi-scale': multi})


def _dinov3() -> Iterator[Weights]:
    # The hash in the file's name, and the mIoU of a linear head on ADE20K
    table = {
        'tiny': ('21b726bb', 42.7),
        'small': ('296db49d', 44.8),
        'base': ('801f2ba9', 46.3),
        'large': ('61fa432d', 47.8),
    }
    for arch, (digest, miou) in table.items():
        name, data = f'convnext_{arch}.dinov3_lvd1689m', 'DINOv3 on LVD-1689M'
        file, licence = f'dinov3_convnext_{arch}_pretrain_lvd1689m-{digest}.pth', 'DINOv3 License'
        yield Weights(name, arch, 1, data, None, file, None, licence, {'linear mIoU': miou})


MANIFEST: dict[str, Weights] = {
    weights.name: weights for family in (_v1, _v2, _dinov3, _detectors, _segmentors) for weights in family()
}
_BY_FILE = {weights.file: weights for weights in MANIFEST.values()}
