"""ImageNet classification: training by the papers' recipes, and the evaluation that published accuracies are of."""

from mmconvnext.classification.accuracy import TopKAccuracy
from mmconvnext.classification.averaging import StepEMAHook
from mmconvnext.classification.class_folders import ClassFolders
from mmconvnext.classification.image_classifier import ImageClassifier
from mmconvnext.classification.published import PublishedAccuracyHook
from mmconvnext.classification.transforms import LoadPILImage, PackImageAndClass, TimmTransform
from mmconvnext.classification.visualizer import ClassVisualizer

__all__ = [
    'ClassFolders',
    'ClassVisualizer',
    'ImageClassifier',
    'LoadPILImage',
    'PackImageAndClass',
    'PublishedAccuracyHook',
    'StepEMAHook',
    'TimmTransform',
    'TopKAccuracy',
]
