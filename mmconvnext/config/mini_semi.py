"""What ``--mini`` changes in a semi-supervised model: from random weights a teacher has to learn before it teaches."""

from mmengine.config import ConfigDict

SETTINGS = {
    'EvalSoftTeacher': dict(burn_in=0.5, rpn_pseudo_thr=0.7, cls_pseudo_thr=0.7),
    'MetaPseudoLabels': dict(student_wait=0.4, finetune=0.2, consistency_ramp=0.4),
}


def scale_down_semi(model: ConfigDict) -> None:
    """Sets when the teacher begins to label, and how sure it has to be, for a training of a few hundred steps.

    Args:
        model: A model's config, changed in place. Models of other kinds stay as they are.
    """
    if model.type in SETTINGS:
        model.semi_train_cfg.update(SETTINGS[model.type])
