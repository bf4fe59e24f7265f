"""Meta Pseudo Labels (arXiv 2003.10580) for detection: the teacher learns from how its labels serve the student.

The paper is on classification, and no figure for detection is published. What stands here for what is there:

- A pseudo label is the boxes that the teacher finds in a weakly changed view of an unlabelled image; its cross entropy
  is the detector's whole loss against these boxes.
- Unsupervised data augmentation is the teacher's loss on a strongly changed view against the same boxes.
- The labelled loss, before and after a step of the student, is the detector's. Both times the drop path is off, and the
  samplers of the heads draw the same random numbers: what differs is the student alone.
"""

import copy
from typing import Any

import torch
from mmdet.models.detectors.semi_base import SemiBaseDetector
from mmdet.models.utils import filter_gt_instances
from mmdet.structures.bbox import bbox_project
from mmengine.dist import all_reduce
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import MODELS
from torch import Tensor

from mmconvnext.errors import UserError
from mmconvnext.semi.meta_reward import MetaReward
from mmconvnext.semi.progress import training_progress
from mmconvnext.semi.train_cfg import check_names, check_range

# Each setting with its default, lowest and highest value; the shares are of the training's steps
SETTINGS = {
    'pseudo_thr': (0.7, 0.0, 1.0),
    'student_wait': (0.03, 0.0, 1.0),
    'finetune': (0.1, 0.0, 1.0),
    'consistency_weight': (1.0, 0.0, float('inf')),
    'consistency_ramp': (0.07, 0.0, 1.0),
    'feedback_weight': (1.0, 0.0, float('inf')),
    'baseline_rate': (0.01, 0.0, 1.0),
}
SMALLEST_SIDE = 0.01  # pixels of a pseudo box in the view of the student, as in MMDetection


@MODELS.register_module()
class MetaPseudoLabels(SemiBaseDetector):
    """A student that learns from the boxes of a teacher alone, and a teacher that learns from the student's progress.

    Each step has four parts: the teacher, without noise, labels the weak view; the student takes a step on the strong
    view with these boxes; the change of its loss on labelled images is the reward, from which a moving baseline is
    taken, see :class:`~mmconvnext.semi.meta_reward.MetaReward`; the teacher takes a step on
    ``labelled + feedback_weight * reward * own + consistency_weight * ramp * consistency``, where ``own`` is its loss
    on the weak view against its own boxes. Where a batch has no pseudo box, the losses on its boxes are multiplied by
    0: an image that the teacher is silent about is not known to be empty.

    Both start from the config's weights, or both from a detector's checkpoint (``load_from``).

    Args:
        detector: Config of a detector of boxes. Student and teacher are built from it.
        semi_train_cfg: ``pseudo_thr``, the score of a pseudo box; ``student_wait``, the share of the training at its
            start in which the teacher learns alone; ``finetune``, the share at its end in which the student learns from
            labelled images alone; ``consistency_weight``, and ``consistency_ramp``, the share of the training over
            which it rises from 0; ``feedback_weight``; ``baseline_rate``, see ``MetaReward``.
        semi_test_cfg: ``predict_on``: ``student``, which is the result, or ``teacher``.
        data_preprocessor: A ``MultiBranchDataPreprocessor``.
        init_cfg: As MMDetection's.

    Raises:
        UserError: If a setting is unknown or out of range, or if the detector has masks.
    """

    student: Any  # detectors, or MMEngine's wrappers for several processes around them
    teacher: Any

    def __init__(
        self,
        detector: dict[str, Any],
        semi_train_cfg: dict[str, Any] | None = None,
        semi_test_cfg: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        given = dict(semi_train_cfg or {})
        check_names(given, SETTINGS, type(self).__name__)
        given = {name: default for name, (default, _, _) in SETTINGS.items()} | given
        for name, (_, low, high) in SETTINGS.items():
            check_range(given, name, low, high)
        if given['student_wait'] + given['finetune'] >= 1:
            raise UserError(
                f'semi_train_cfg.student_wait={given["student_wait"]} and finetune={given["finetune"]} leave no step '
                'in which the student learns from the teacher; they must be less than 1 together.',
                key='semi_train_cfg.student_wait',
            )
        if (detector.get('roi_head') or detector).get('mask_head'):
            raise UserError(
                f'MetaPseudoLabels is for boxes, and {detector.get("type")} has a mask head; take FasterRCNN.',
                detector=detector.get('type'),
            )
        super().__init__(detector, dict(given, freeze_teacher=False), semi_test_cfg or {}, data_preprocessor, init_cfg)
        self.settings = given
        self.meta_reward = MetaReward(given['baseline_rate'])

    def train_step(self, data: dict[str, Any], optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Takes a step of the teacher and one of the student.

        Args:
            data: A batch of the branches ``sup``, ``unsup_teacher`` and ``unsup_student``.
            optim_wrapper: One optimizer for ``student`` and one for ``teacher``, as the constructor
                ``StudentTeacherOptimWrapperConstructor`` makes them.

        Returns:
            Scalars to log: the losses of both, ``loss`` as their sum, ``reward`` and ``feedback`` (the reward without
            and with the baseline), and ``pseudo_boxes``, of an image on average.

        Raises:
            UserError: If there are other optimizers.
        """
        if not isinstance(optim_wrapper, OptimWrapperDict) or set(optim_wrapper.keys()) != {'student', 'teacher'}:
            raise UserError(
                'MetaPseudoLabels learns with two optimizers: set optim_wrapper.constructor='
                "'StudentTeacherOptimWrapperConstructor'."
            )
        student, teacher = optim_wrapper['student'], optim_wrapper['teacher']
        done = training_progress()
        data = self.data_preprocessor(data, training=True)
        images, samples = data['inputs'], data['data_samples']
        if done >= 1 - self.settings['finetune']:
            return self._step(self.student, student, images['sup'], samples['sup'], 'student_')

        weak, strong = self.label(images['unsup_teacher'], samples['unsup_teacher'], samples['unsup_student'])
        boxes = torch.tensor([float(len(sample.gt_instances)) for sample in strong]).mean()
        weight = float(boxes > 0)
        logged = {'pseudo_boxes': boxes}
        feedback = None
        if done >= self.settings['student_wait']:
            seed = int(torch.randint(2**31, ()))
            before = self.labelled_loss(images['sup'], samples['sup'], seed)
            logged |= self._step(self.student, student, images['unsup_student'], strong, 'student_', weight)
            after = self.labelled_loss(images['sup'], samples['sup'], seed)
            feedback = self.meta_reward(before, after)
            logged |= {'reward': before - after, 'feedback': feedback}

        with teacher.optim_context(self.teacher):
            ramp = min(1.0, done / self.settings['consistency_ramp']) if self.settings['consistency_ramp'] else 1.0
            terms = {'teacher_loss_labelled': self._loss(self.teacher, images['sup'], samples['sup'])}
            consistency = self._loss(self.teacher, images['unsup_student'], strong)
            terms['teacher_loss_consistency'] = weight * ramp * self.settings['consistency_weight'] * consistency
            if feedback is not None:
                own = self._loss(self.teacher, images['unsup_teacher'], weak)
                terms['teacher_loss_feedback'] = weight * self.settings['feedback_weight'] * feedback * own
            total = torch.stack(list(terms.values())).sum()
        teacher.update_params(total)
        logged |= {name: value.detach() for name, value in terms.items()}
        logged['loss'] = total.detach() + logged.get('loss', 0.0)
        return logged

    @torch.no_grad()
    def label(self, images: Tensor, weak: list, strong: list) -> tuple[list, list]:
        """Boxes of the teacher, without its noise, as the ground truth of both views of each image.

        Args:
            images: The weak view, (N, 3, H, W), normalised.
            weak: Its data samples.
            strong: Data samples of the strong view.

        Returns:
            Copies of both lists whose ``gt_instances`` are the boxes with a score above ``pseudo_thr``, in pixels of
            the view. A box that lies outside of the strong view is not in its list.
        """
        teacher = _unwrapped(self.teacher)
        mode = teacher.training
        teacher.eval()
        results = teacher.predict(images, copy.deepcopy(weak), rescale=False)
        teacher.train(mode)
        weak, strong = copy.deepcopy(weak), copy.deepcopy(strong)
        for sample, result in zip(weak, results):
            sample.gt_instances = result.pred_instances
        weak = filter_gt_instances(weak, score_thr=self.settings['pseudo_thr'])
        for sample, other in zip(weak, strong):
            found = copy.deepcopy(sample.gt_instances)
            back = torch.as_tensor(sample.homography_matrix, device=images.device).inverse()
            there = torch.as_tensor(other.homography_matrix, device=images.device)
            in_file = bbox_project(found.bboxes, back, sample.ori_shape)
            found.bboxes = bbox_project(in_file, there, other.img_shape)
            other.gt_instances = found
        return weak, filter_gt_instances(strong, wh_thr=(SMALLEST_SIDE, SMALLEST_SIDE))

    @torch.no_grad()
    def labelled_loss(self, images: Tensor, samples: list, seed: int) -> Tensor:
        """The student's loss on labelled images, without drop path, the same for the same weights and seed.

        Args:
            images: (N, 3, H, W), normalised.
            samples: Their data samples with ground truth.
            seed: Of the samplers that choose anchors and proposals. Other random numbers go on where they were.

        Returns:
            A scalar, the mean of all processes.
        """
        student = _unwrapped(self.student)
        mode = student.training
        student.eval()
        with torch.random.fork_rng([images.device] if images.is_cuda else []):
            torch.manual_seed(seed)
            loss = self._loss(student, images, copy.deepcopy(samples))
        student.train(mode)
        all_reduce(loss, 'mean')  # as the student's step is that of all processes
        return loss

    def loss(self, batch_inputs: Any, batch_data_samples: Any) -> dict:
        """Is not there: one sum of losses cannot train a student and its teacher against each other.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError('MetaPseudoLabels learns in train_step; it has no loss for a single optimizer.')

    def _step(
        self, part: Any, optimizer: OptimWrapper, images: Tensor, samples: list, prefix: str, weight: float = 1.0
    ) -> dict[str, Tensor]:
        with optimizer.optim_context(part):
            loss = weight * self._loss(part, images, samples)
        optimizer.update_params(loss)
        return {f'{prefix}loss': loss.detach(), 'loss': loss.detach()}

    def _loss(self, part: Any, images: Tensor, samples: list) -> Tensor:
        return self.parse_losses(part(images, samples, mode='loss'))[0]


def _unwrapped(part: Any) -> Any:
    return part.module if is_model_wrapper(part) else part
