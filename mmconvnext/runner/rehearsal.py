"""Tries a sample of the data before hours of work depend on it.

A few images of each split go through their pipeline, and their own ground truth through the evaluator as if a model
had predicted it. Without this, a fault in the validation data would show only after the first epoch, and nobody would
notice an evaluation that counts correct results as wrong.
"""

import copy
import logging
import random
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.evaluation import CocoMetric
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.logging import MMLogger
from mmengine.structures import BaseDataElement, InstanceData
from mmseg.evaluation import IoUMetric
from pycocotools import mask as run_lengths
from torch.utils.data import DataLoader

from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.errors import explain_refusals
from mmconvnext.runner.console import hide_pycocotools

IMAGES = 8  # of each split
SECONDS = 20.0  # for loading the images of a split; after that the rest are left out
LONGEST_EVALUATION = 3600.0  # seconds; only a longer one is reported
PERFECT = 0.995  # the metrics are rounded to 3 digits


def rehearse(name: str, loader: DataLoader, evaluator: Evaluator | None = None) -> Findings:
    """Sends a sample of a split through its pipeline, and its ground truth through its evaluator.

    It leaves no trace: the random number generators, the dataset and the evaluator are afterwards as before. Only
    MMDetection's CocoMetric and MMSegmentation's IoUMetric are tried; other evaluators may need more than ground truth.

    Args:
        name: The loader's name in the config, such as ``val_dataloader``.
        loader: The data loader of a split.
        evaluator: The evaluator of that split; None for training.

    Returns:
        What is wrong with the evaluation.

    Raises:
        UserError: If a file cannot be read, or a part of the pipeline or the evaluator refuses a sample.
    """
    findings = Findings()
    with _random_numbers_kept():
        samples = _samples(name, loader)
        metrics = evaluator.metrics if evaluator else ()
        if any(type(metric) in (CocoMetric, IoUMetric) for metric in metrics) and not _can_be_evaluated(
            findings, name, samples
        ):
            return findings
        for metric in metrics:
            if type(metric) is CocoMetric and not metric.format_only:
                _rehearse_boxes(findings, name, loader.dataset, metric, samples)
            elif type(metric) is IoUMetric and not metric.format_only:
                _rehearse_label_maps(findings, name, loader.dataset, metric, samples)
    return findings


def _can_be_evaluated(findings: Findings, name: str, samples: Mapping[int, Any]) -> bool:
    """Returns whether samples have all that heads and evaluators read besides the truth; adds a finding if not."""
    for sample in map(_first, samples.values()):
        if 'ori_shape' not in (sample if isinstance(sample, BaseDataElement) else ()):
            findings.add(
                'sample-without-ori_shape',
                Severity.REFUSES,
                name,
                'gives images without their ori_shape, which the evaluation reads',
                "The last transform of its pipeline packs it: add 'ori_shape' to its meta_keys.",
                count=0,
            )
            return False
    return bool(samples)


def _samples(name: str, loader: DataLoader) -> dict[int, Any]:
    """Returns what comes out of the pipeline, by index. The images are taken evenly from the whole split."""
    dataset = _with_own_pipelines(loader.dataset)
    deadline = time.monotonic() + SECONDS
    samples: dict[int, Any] = {}
    for index in np.linspace(0, len(dataset) - 1, min(IMAGES, len(dataset))).astype(int).tolist():
        with explain_refusals(f'{name}: image {index} of {len(dataset)} cannot be loaded', cv2.error, IndexError):
            sample = dataset[index]
        # The images are not needed any more; a few large ones may fill the memory
        samples[index] = sample.get('data_samples') if isinstance(sample, Mapping) else None
        if time.monotonic() > deadline:
            break
    return samples


def _rehearse_boxes(
    findings: Findings, name: str, dataset: Any, metric: CocoMetric, samples: Mapping[int, Any]
) -> None:
    """Scores the boxes and masks that the dataset loaded against those of the evaluator's own annotation file."""
    metric = copy.copy(metric)
    metric.results, metric.outfile_prefix = [], None
    predicted = []
    for index, sample in samples.items():
        info = dataset.get_data_info(index)
        sample = _first(sample)
        height, width = sample.ori_shape[:2]
        instances = [instance for instance in info['instances'] if not instance['ignore_flag']]
        masks = [instance['mask'] for instance in instances if 'mask' in instance]
        if 'segm' in metric.metrics and len(masks) < len(instances):  # this format has its masks elsewhere
            continue
        prediction = InstanceData(
            bboxes=torch.tensor([instance['bbox'] for instance in instances]).reshape(-1, 4),
            scores=torch.ones(len(instances)),
            labels=torch.tensor([instance['bbox_label'] for instance in instances], dtype=torch.long),
        )
        if 'segm' in metric.metrics:
            prediction.masks = [_as_run_lengths(mask, height, width) for mask in masks]
        # The sample's other entries are kept: without ann_file the evaluator reads the truth from them
        known = {key: value for key, value in sample.metainfo.items() if key != 'img_id'}
        predicted.append(known | dict(img_id=info['img_id'], pred_instances=prediction.to_dict()))
    if (truth := metric._coco_api) is not None:
        # Loading leaves out crowds and boxes without area, as the data check has reported. Images that have any are
        # not scored
        classes = truth.get_cat_ids(cat_names=metric.dataset_meta['classes'])
        predicted = [
            one
            for one in predicted
            if len(one['pred_instances']['labels'])
            == len(truth.get_ann_ids(img_ids=[one['img_id']], cat_ids=classes, iscrowd=False))
        ]
        metric.img_ids = [one['img_id'] for one in predicted]
    if any(len(one['pred_instances']['labels']) for one in predicted):
        _score(findings, name, metric, predicted, len(dataset), perfect=PERFECT)


def _rehearse_label_maps(
    findings: Findings, name: str, dataset: Any, metric: IoUMetric, samples: Mapping[int, Any]
) -> None:
    """Scores the label maps that the dataset loaded against themselves."""
    metric = copy.copy(metric)
    metric.results, metric.output_dir = [], None
    predicted = []
    for sample in map(_first, samples.values()):
        if 'gt_sem_seg' not in sample:
            findings.add(
                'no-truth-to-evaluate',
                Severity.REFUSES,
                name,
                'gives images without their label maps, which its evaluator needs',
                "Its pipeline wants dict(type='LoadAnnotations') before dict(type='PackSegInputs').",
                count=0,
            )
            return
        truth = sample.gt_sem_seg.data
        if truth.shape[-2:] != tuple(sample.ori_shape[:2]):
            findings.add(
                'truth-of-another-size',
                Severity.REFUSES,
                name,
                f'gives the label map of an image of {_size(sample.ori_shape)} as one of {_size(truth.shape[-2:])}, '
                'and results are compared in the size of the image',
                "Put dict(type='LoadAnnotations') behind the transforms of its pipeline that change the size.",
                count=0,
            )
            return
        predicted.append(dict(pred_sem_seg=dict(data=truth), gt_sem_seg=dict(data=truth)))
    _score(findings, name, metric, predicted, len(dataset), perfect=100 * PERFECT)


def _score(
    findings: Findings, name: str, metric: BaseMetric, predicted: Sequence[dict], images: int, *, perfect: float
) -> None:
    """Evaluates ground truth as if it were predicted, and adds a finding if it does not score as perfect."""
    start = time.monotonic()
    with (
        _silence(),
        warnings.catch_warnings(),
        explain_refusals(f'{name}: the evaluator refuses the truth of its own images', cv2.error, IndexError),
    ):
        warnings.filterwarnings('ignore', 'Mean of empty slice', RuntimeWarning)
        metric.process(None, predicted)
        scores = metric.compute_metrics(metric.results)
    seconds = (time.monotonic() - start) / len(predicted) * images
    means = [key for key in scores if key in ('bbox_mAP', 'segm_mAP', 'mIoU', 'mDice', 'mFscore')]
    if any(np.isnan(scores[key]) for key in means):  # MMSegmentation gives NaN for nothing
        everything = len(predicted) == images
        findings.add(
            'nothing-to-evaluate',
            Severity.REFUSES if everything else Severity.CHANGES,
            name,
            f'has no pixel of a class in {"its" if everything else "a sample of"} {len(predicted)} images, so that '
            'there is nothing to evaluate',
            'Check its label maps: each pixel must be the number of a class, or 255 if it is ignored.',
            count=0,
        )
    for key in means:
        # COCO gives -1 where there is nothing to find
        if 0 <= scores[key] < perfect:
            findings.add(
                f'truth-scores-{key}',
                Severity.REFUSES if scores[key] == 0 else Severity.CHANGES,
                name,
                f'is evaluated wrongly: the ground truth of {len(predicted)} of its images, as if it were predicted, '
                f'gets {key} {scores[key]:g}, where {100 if perfect > 1 else 1} is perfect',
                'Compare what the dataset and the evaluator are told to read: annotations, classes, sizes.',
                count=0,
            )
    if seconds > LONGEST_EVALUATION:
        findings.add(
            'slow-evaluation',
            Severity.CHANGES,
            name,
            f'takes about {seconds / 3600:.1f} hours to evaluate, judging by a sample of {len(predicted)} images',
            'Evaluate fewer images, or less often.',
            count=0,
        )


def _as_run_lengths(mask: Any, height: int, width: int) -> dict[str, Any]:
    """Converts a mask of an annotation file, polygons or run lengths, to the form of MMDetection's predictions."""
    if isinstance(mask, list):
        return run_lengths.merge(run_lengths.frPyObjects(mask, height, width))
    return run_lengths.frPyObjects(mask, height, width) if isinstance(mask['counts'], list) else mask


def _first(sample: Any) -> BaseDataElement:
    """Returns a sample; under test-time augmentation, the first of its forms."""
    return sample[0] if isinstance(sample, list) else sample


def _size(shape: Sequence[int]) -> str:
    return f'{shape[1]}x{shape[0]}'


def _with_own_pipelines(dataset: Any) -> Any:
    """Returns a dataset with a copy of its pipelines: some transforms, such as CachedMosaic, store images they saw."""
    dataset = copy.copy(dataset)
    if hasattr(dataset, 'pipeline'):
        dataset.pipeline = copy.deepcopy(dataset.pipeline)
    if isinstance(getattr(dataset, 'dataset', None), torch.utils.data.Dataset):
        dataset.dataset = _with_own_pipelines(dataset.dataset)
    if isinstance(getattr(dataset, 'datasets', None), list):
        dataset.datasets = [_with_own_pipelines(one) for one in dataset.datasets]
    return dataset


@contextmanager
def _random_numbers_kept() -> Iterator[None]:
    """Restores the state of Python's, NumPy's and PyTorch's random number generators."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps the tables that metrics print and log out of the terminal and the log."""
    logger = MMLogger.get_current_instance()
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with hide_pycocotools():
            yield
    finally:
        logger.setLevel(before)
