"""Top-1 and top-5 accuracy."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmengine.registry import METRICS
from torch.nn import functional as F

from mmconvnext.datasets.listing import first_few


@METRICS.register_module()
class TopKAccuracy(BaseMetric):
    """The share of images whose class is among the k most likely ones, in percent, and the mean cross-entropy.

    A class that another one ties with is not before it, and NaN is never right. Images that cannot be read are left
    out, named and counted.

    Args:
        topk: The values of k. One that is not below the number of classes is left out, as it says nothing.
        kwargs: Those of MMEngine's ``BaseMetric``.
    """

    def __init__(self, topk: Sequence[int] = (1, 5), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.topk = tuple(topk)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keeps of each image how many classes are not less likely than its own, and its cross-entropy."""
        logits = torch.stack([sample['logits'] for sample in data_samples])  # (B, classes)
        labels = torch.tensor([sample['gt_label'] for sample in data_samples], device=logits.device)
        before = (~(logits < logits.gather(1, labels[:, None]))).sum(1) - 1
        losses = F.cross_entropy(logits, labels, reduction='none')
        for sample, rank, loss in zip(data_samples, before.tolist(), losses.tolist()):
            if skipped := sample.get('skipped'):
                self.results.append(dict(unreadable=next(iter(skipped.items()))))
            else:
                self.results.append(dict(before=rank, loss=loss, classes=logits.shape[1]))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Returns ``top-1`` and so on in percent, and ``cross_entropy``; ``unreadable`` if some could not be read."""
        counted = [result for result in results if 'unreadable' not in result]
        unreadable = dict(result['unreadable'] for result in results if 'unreadable' in result)
        if unreadable:
            MMLogger.get_current_instance().warning(
                f'{len(unreadable)} of {len(results)} images cannot be read, and the accuracy is that of the others: '
                f'{first_few(unreadable.values())}'
            )
        total = len(counted)
        metrics = {
            f'top-{k}': 100 * sum(result['before'] < k for result in counted) / total
            for k in self.topk
            if k == 1 or k < counted[0]['classes']
        }
        metrics['cross_entropy'] = sum(result['loss'] for result in counted) / total
        return metrics | (dict(unreadable=len(unreadable)) if unreadable else {})
