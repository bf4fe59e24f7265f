"""SoftTeacher (arXiv 2106.09018) as MMDetection has it, mended where ConvNeXt or a short training needs it.

The teacher is an average of the student over time, and labels images that have no labels. The student learns from
both, and from each box of the teacher by how sure the teacher is of it. It is neither Noisy Student, whose teacher is
trained beforehand, nor Meta Pseudo Labels, whose teacher learns from the student.
"""

from typing import Any

import torch
from mmdet.models import SoftTeacher
from mmengine.registry import MODELS
from torch import Tensor

from mmconvnext.errors import UserError
from mmconvnext.semi.progress import training_progress
from mmconvnext.semi.train_cfg import check_names, check_range

SETTINGS = (
    *('freeze_teacher', 'sup_weight', 'unsup_weight', 'pseudo_label_initial_score_thr', 'rpn_pseudo_thr'),
    *('cls_pseudo_thr', 'reg_pseudo_thr', 'jitter_times', 'jitter_scale', 'min_pseudo_bbox_wh', 'burn_in'),
)


@MODELS.register_module()
class EvalSoftTeacher(SoftTeacher):
    """MMDetection's SoftTeacher, whose teacher is in evaluation mode whenever it labels.

    MMDetection's sets the teacher to training mode together with the student. That changes nothing with frozen batch
    norms, but ConvNeXt's drop path would then remove blocks at random from the teacher too.

    Args:
        detector: Config of a two-stage detector with one box head and no mask head, such as Faster R-CNN. Student and
            teacher are built from it.
        semi_train_cfg: MMDetection's settings, and ``burn_in``: the share of the training at its start in which the
            student learns from labelled images alone, 0 by default. The teacher of a training that starts without a
            detector's checkpoint has nothing to tell before.
        semi_test_cfg: As MMDetection's.
        data_preprocessor: As MMDetection's.
        init_cfg: As MMDetection's.

    Raises:
        UserError: If a setting is unknown or out of range, or if the detector is another one.
    """

    student: Any  # a detector, whose methods are not nn.Module's
    teacher: Any

    def __init__(
        self,
        detector: dict[str, Any],
        semi_train_cfg: dict[str, Any],
        semi_test_cfg: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        check_names(semi_train_cfg, SETTINGS, type(self).__name__)
        self.burn_in = check_range({'burn_in': 0.0, **semi_train_cfg}, 'burn_in', 0.0, 1.0)
        _check_detector(detector)
        super().__init__(detector, semi_train_cfg, semi_test_cfg or {}, data_preprocessor, init_cfg)

    def train(self, mode: bool = True) -> 'EvalSoftTeacher':
        """Sets the student to training or evaluation mode. The teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def loss(self, multi_batch_inputs: dict[str, Tensor], multi_batch_data_samples: dict[str, list]) -> dict:
        """Losses of the student on labelled and, after the burn-in, on unlabelled images.

        Args:
            multi_batch_inputs: Images of the branches ``sup``, ``unsup_teacher`` and ``unsup_student``, each
                (N, 3, H, W), normalised. The last two are views of the same images in the same order.
            multi_batch_data_samples: Their data samples, likewise.

        Returns:
            MMDetection's losses, scalars, and ``unsup_boxes``: how many boxes the student learns to classify from an
            unlabelled image, on average.
        """
        if training_progress() < self.burn_in:
            return self.loss_by_gt_instances(multi_batch_inputs['sup'], multi_batch_data_samples['sup'])
        return super().loss(multi_batch_inputs, multi_batch_data_samples)

    def loss_by_pseudo_instances(
        self, batch_inputs: Tensor, batch_data_samples: list, batch_info: dict | None = None
    ) -> dict:
        """Losses of the student on boxes of the teacher, and how many of them are sure enough."""
        losses = super().loss_by_pseudo_instances(batch_inputs, batch_data_samples, batch_info)
        threshold = self.semi_train_cfg['cls_pseudo_thr']
        sure = [(sample.gt_instances.scores > threshold).sum() for sample in batch_data_samples]
        return losses | dict(unsup_boxes=torch.stack(sure).float().mean())


def _check_detector(detector: dict[str, Any]) -> None:
    roi_head = detector.get('roi_head') or {}
    box_heads = roi_head.get('bbox_head')
    if not isinstance(box_heads, dict) or roi_head.get('mask_head'):
        raise UserError(
            f'SoftTeacher needs a two-stage detector with one box head and no mask head, such as FasterRCNN; '
            f'{detector.get("type")} is none. Its loss is for boxes, and the teacher gives no masks.',
            detector=detector.get('type'),
        )
