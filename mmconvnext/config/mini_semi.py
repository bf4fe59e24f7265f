"""What ``--mini`` changes where a teacher labels images: from random weights it has to learn before it teaches."""

from mmengine.config import Config

SETTINGS = {
    'EvalSoftTeacher': dict(burn_in=0.5, rpn_pseudo_thr=0.7, cls_pseudo_thr=0.7),
    'MetaPseudoLabels': dict(student_wait=0.4, finetune=0.2, consistency_ramp=0.4),
}


def scale_down_semi(cfg: Config) -> None:
    """Sets when the teacher begins to label, and how sure it has to be, for a training of a few hundred steps.

    Half of the images of a batch are labelled: the full recipes have 8 labelled images in each step, on 8 GPUs.

    Args:
        cfg: Changed in place. Other trainings stay as they are.
    """
    if cfg.model.type in SETTINGS:
        cfg.model.semi_train_cfg.update(SETTINGS[cfg.model.type])
        cfg.train_dataloader.sampler.source_ratio = [1, 1]
