"""Scales a full recipe down to the embedded mini data: the same model and losses, in minutes on two cores.

Everything that `--mini` changes in a config, other than what the machine lacks, is in this file.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config, ConfigDict

from mmconvnext.datasets import mini
from mmconvnext.engine.tree import walk

TRAIN_IMAGES = 200
VAL_IMAGES = 40
IMAGE_SIZE = (192, 256)  # height, width in pixels


@dataclass(frozen=True)
class MiniRecipe:
    """How much of the full recipe is left.

    Args:
        image_scale: What every resize, crop and slide of the config is multiplied by.
        batch_size: Images a step.
        epochs: Passes over the mini training images.
        evaluations: How many times to evaluate on the way, the end included; a divisor of ``epochs``.
        lr: Base learning rate: few steps from random weights need more than fine-tuning does.
        decay_rate: Layer-wise decay: it protects pre-trained layers, and here there are none.
        warmup_steps: Steps of the linear warm-up.
        rois: Proposals that each RoI head samples of an image.
        proposals: Proposals that the RPN passes on.
        detections: Detections kept of an image.
    """

    image_scale: float
    batch_size: int
    epochs: int
    evaluations: int
    lr: float
    decay_rate: float
    warmup_steps: int
    rois: int = 0
    proposals: int = 0
    detections: int = 0


RECIPES = {
    'MaskRCNN': MiniRecipe(
        image_scale=0.2,
        batch_size=4,
        epochs=6,
        evaluations=3,
        lr=1e-3,
        decay_rate=0.95,
        warmup_steps=30,
        rois=48,
        proposals=100,
        detections=20,
    ),
    'CascadeRCNN': MiniRecipe(
        image_scale=0.2,
        batch_size=2,
        epochs=3,
        evaluations=3,
        lr=5e-4,
        decay_rate=0.95,
        warmup_steps=20,
        rois=24,
        proposals=100,
        detections=20,
    ),
    'EncoderDecoder': MiniRecipe(
        image_scale=0.25,
        batch_size=4,
        epochs=6,
        evaluations=3,
        lr=5e-4,
        decay_rate=0.95,
        warmup_steps=30,
    ),
}


def scale_down(cfg: Config, root: Path) -> None:
    """Rewrites ``cfg`` in place to train on the mini data at ``root``, which is made if it is not there.

    Raises:
        ValueError: If there is no mini recipe for the config's model, or if ``root`` holds something else.
    """
    recipe = RECIPES.get(cfg.model.type)
    if recipe is None:
        raise ValueError(f'--mini knows {", ".join(RECIPES)}, but the model of this config is {cfg.model.type}.')
    mini.write_mini(root, train_images=TRAIN_IMAGES, val_images=VAL_IMAGES, image_size=IMAGE_SIZE)

    segmentation = cfg.model.type == 'EncoderDecoder'
    _point_at(cfg, root / ('ade' if segmentation else 'coco'), segmentation)
    _shrink_images(cfg, recipe)
    _shrink_schedule(cfg, recipe)
    if not segmentation:
        _shrink_proposals(cfg.model, recipe)
    cfg.model.backbone.init_cfg = None
    cfg.model.backbone.drop_path_rate = 0.0  # it regularizes 36 epochs, not a few hundred steps
    cfg.optim_wrapper.optimizer.lr = recipe.lr
    cfg.optim_wrapper.paramwise_cfg.decay_rate = recipe.decay_rate


def _point_at(cfg: Config, root: Path, segmentation: bool) -> None:
    if segmentation:
        metainfo = dict(classes=mini.SEGMENTATION_CLASSES, palette=mini.SEGMENTATION_PALETTE)
    else:
        metainfo = dict(classes=mini.DETECTION_CLASSES, palette=mini.DETECTION_PALETTE)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.data_root = str(root)
        loader.dataset.metainfo = metainfo
        loader.num_workers = 1
        if segmentation:
            # ADE20KDataset takes no classes but its own; what else it adds is its suffixes and the zero label
            loader.dataset.type = 'BaseSegDataset'
            loader.dataset.reduce_zero_label = True
    if not segmentation:
        for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
            evaluator.ann_file = str(root / cfg.val_dataloader.dataset.ann_file)
    for node in walk(cfg.model):
        if 'num_classes' in node:
            node.num_classes = len(metainfo['classes'])


def _shrink_images(cfg: Config, recipe: MiniRecipe) -> None:
    def scaled(size: tuple[int, int]) -> tuple[int, int]:
        return round(size[0] * recipe.image_scale), round(size[1] * recipe.image_scale)

    for node in walk([cfg.train_dataloader.dataset, cfg.val_dataloader.dataset]):
        if node.get('type') == 'RandomChoiceResize':
            node.scales = [scaled(scale) for scale in node.scales]
        elif node.get('type') in ('Resize', 'RandomResize'):
            node.scale = scaled(node.scale)
        elif node.get('type') == 'RandomCrop':
            node.crop_size = scaled(node.crop_size)
        elif 'filter_empty_gt' in node:  # every image is used, so that the number of steps is known
            node.update(filter_empty_gt=False, min_size=1)
    cfg.test_dataloader.dataset.pipeline = cfg.val_dataloader.dataset.pipeline
    if 'size' in cfg.model.data_preprocessor:
        cfg.model.data_preprocessor.size = scaled(cfg.model.data_preprocessor.size)
    if cfg.model.test_cfg.get('mode') == 'slide':
        cfg.model.test_cfg.crop_size = scaled(cfg.model.test_cfg.crop_size)
        cfg.model.test_cfg.stride = scaled(cfg.model.test_cfg.stride)


def _shrink_schedule(cfg: Config, recipe: MiniRecipe) -> None:
    cfg.train_dataloader.batch_size = recipe.batch_size
    cfg.auto_scale_lr.base_batch_size = recipe.batch_size  # what the recipe's learning rate is for
    steps_per_epoch = math.ceil(TRAIN_IMAGES / recipe.batch_size)
    steps = recipe.epochs * steps_per_epoch
    epochs_between = recipe.epochs // recipe.evaluations
    if 'max_epochs' in cfg.train_cfg:
        full_length = cfg.train_cfg.max_epochs
        cfg.train_cfg.max_epochs = recipe.epochs
        cfg.train_cfg.val_interval = epochs_between
    else:
        full_length = cfg.train_cfg.max_iters
        cfg.train_cfg.max_iters = steps
        cfg.train_cfg.val_interval = epochs_between * steps_per_epoch
        cfg.default_hooks.checkpoint.interval = steps
    cfg.default_hooks.logger.interval = 10
    cfg.log_processor.window_size = 10

    # Counted in steps, since the learning rate drops within an epoch of so short a schedule
    warmup, main = cfg.param_scheduler
    warmup.end = recipe.warmup_steps
    main.update(by_epoch=False, end=steps)
    if 'milestones' in main:
        main.milestones = [steps * milestone // full_length for milestone in main.milestones]
    else:
        main.begin = recipe.warmup_steps


def _shrink_proposals(model: ConfigDict, recipe: MiniRecipe) -> None:
    for rpn in (model.train_cfg.rpn_proposal, model.test_cfg.rpn):
        rpn.nms_pre = 4 * recipe.proposals
        rpn.max_per_img = recipe.proposals
    stages = model.train_cfg.rcnn if isinstance(model.train_cfg.rcnn, list) else [model.train_cfg.rcnn]
    for stage in stages:
        stage.sampler.num = recipe.rois
    model.test_cfg.rcnn.max_per_img = recipe.detections
