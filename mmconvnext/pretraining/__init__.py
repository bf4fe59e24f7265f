"""Pre-training without labels: the fully convolutional masked autoencoder (FCMAE) of ConvNeXt V2."""

from mmconvnext.pretraining.fcmae import FCMAE
from mmconvnext.pretraining.reconstructions import ReconstructionLoss, ReconstructionVisualizer
from mmconvnext.pretraining.transforms import CenterCropAndResize, PackImages, RandomCropAndResize
from mmconvnext.pretraining.unlabelled_images import UnlabelledImages

__all__ = [
    'FCMAE',
    'CenterCropAndResize',
    'PackImages',
    'RandomCropAndResize',
    'ReconstructionLoss',
    'ReconstructionVisualizer',
    'UnlabelledImages',
]
