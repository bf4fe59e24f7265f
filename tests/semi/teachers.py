"""Small models with a student and a teacher, and batches of small images for them, as the configs have both."""

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

import mmconvnext.semi.registered  # noqa: F401  registers the models
from mmconvnext.config.data_root import set_data_root
from mmconvnext.config.neck_and_heads import match_backbone
from mmconvnext.config_tree import walk
from mmconvnext.datasets import mini
from tests.conftest import ROOT

SOFT_TEACHER = 'soft_teacher_faster_rcnn_convnext_t_10p'
META = 'meta_pseudo_labels_faster_rcnn_convnext_t_10p'
SMALL = dict(num_classes=5, nms_pre=50, max_per_img=20, num=16, fc_out_channels=32, feat_channels=16, out_channels=16)


def small_config(stem: str, coco: Path, **settings: Any) -> Config:
    """A config of ``configs/semi`` on the images of the fixture ``coco``, with a toy network that has no drop path."""
    cfg = Config.fromfile(ROOT / f'configs/semi/{stem}.py')
    init_default_scope(cfg.default_scope)
    set_data_root(cfg, coco)
    detector = cfg.model.get('detector', cfg.model)
    detector.backbone.update(arch=dict(depths=(1, 1, 1, 1), widths=(8, 8, 16, 16)), drop_path_rate=0.0, init_cfg=None)
    match_backbone(cfg.model)
    for node in walk(detector):
        node.update({key: value for key, value in SMALL.items() if key in node})
    detector.rpn_head.in_channels = detector.roi_head.bbox_head.in_channels = 16
    for node in walk(cfg.train_dataloader):
        if node.get('type') == 'RandomResize':
            node.scale = [(96, 64), (96, 80)]
    for dataset, name in zip(cfg.train_dataloader.dataset.get('datasets', ()), ('', '-unlabeled')):
        dataset.update(
            ann_file=f'semi_anns/instances_train2017.1@40{name}.json',
            metainfo=dict(classes=mini.DETECTION_CLASSES),
            filter_cfg=dict(filter_empty_gt=not name, min_size=1),
        )
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    if 'semi_train_cfg' in cfg.model:
        cfg.model.semi_train_cfg.update(settings)
    return cfg


def build(cfg: Config) -> Any:
    """The model of a config, whose teacher and student have the same weights."""
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.teacher.load_state_dict(model.student.state_dict())
    return model.train()


def batch_of(cfg: Config) -> dict:
    """The first batch of a config."""
    return next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))


def at_step(step: int, steps: int) -> None:
    """Tells models that a training is at this step, as MMEngine's runner does."""
    hub = MessageHub.get_current_instance()
    hub.update_info('iter', step)
    hub.update_info('max_iters', steps)
