"""Describes how the datasets and evaluators of a config use an annotation file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CocoUse:
    """How a dataset of the config uses an annotation file.

    Args:
        dataset: A ``CocoDataset`` that has not loaded anything yet; None where an evaluator alone reads the file.
        name: What the config calls it, such as ``train_dataloader.dataset``.
        needs_masks: Whether the loader reads the ``segmentation`` of the annotations that it keeps.
        evaluates: Whether the file is the truth of an evaluation.
        evaluates_masks: Whether this evaluation reads every ``segmentation``.
        needs_annotations: Whether there is something to learn or evaluate; a test that only writes results needs none.
        reads_run_lengths: Whether the loader reads masks in run lengths; it ignores them with ``poly2mask=False``.
        how_to_set_classes: Says, given class names, which lines of a config set them.
    """

    dataset: Any
    name: str
    needs_masks: bool
    evaluates: bool
    evaluates_masks: bool
    needs_annotations: bool
    reads_run_lengths: bool
    how_to_set_classes: Callable[[Sequence[str]], str]
