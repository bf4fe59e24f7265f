"""Scales a full recipe down to the embedded mini data: the same model and losses, in minutes on two cores.

All that ``--mini`` changes in the config of a detector or a segmentor is in this file, but for what it changes where a
teacher labels images: :mod:`mmconvnext.config.mini_semi`. For pre-training see
:mod:`mmconvnext.config.mini_pretraining`, for classifiers :mod:`mmconvnext.config.mini_classification`.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from mmconvnext.config.backbone import backbone_path, find_backbone
from mmconvnext.config.mini_classification import scale_down_classification
from mmconvnext.config.mini_pretraining import scale_down_pretraining
from mmconvnext.config.mini_semi import scale_down_semi
from mmconvnext.config.options import LOADERS, Options
from mmconvnext.config_tree import as_list, datasets_of, look_up, walk
from mmconvnext.datasets import mini
from mmconvnext.datasets.label_split import make_named_split
from mmconvnext.errors import UserError

TRAIN_IMAGES = 200
VAL_IMAGES = 40
IMAGE_SIZE = (192, 256)  # height, width in pixels


@dataclass(frozen=True)
class MiniRecipe:
    """The settings that replace those of the full recipe.

    Args:
        image_scale: The factor for the sizes of every resize, crop and sliding window of the config.
        batch_size: Images per step.
        epochs: Passes over the mini training images.
        evaluations: How many times to evaluate on the way, the end included; a divisor of ``epochs``.
        lr: Base learning rate. A few steps from random weights need a higher one than fine-tuning does.
        decay_rate: Layer-wise decay. It protects pre-trained layers, and here there are none, so it is near 1.
        warmup_steps: Steps of the linear warm-up.
        rois: Proposals that each RoI head samples per image.
        proposals: Proposals per image that the RPN passes on.
        detections: Detections that are kept per image.
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
    'FasterRCNN': MiniRecipe(
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
    'EvalSoftTeacher': MiniRecipe(
        image_scale=0.13,
        batch_size=6,
        epochs=14,
        evaluations=3,
        lr=1e-3,
        decay_rate=0.95,
        warmup_steps=30,
        rois=48,
        proposals=100,
        detections=20,
    ),
    'MetaPseudoLabels': MiniRecipe(
        image_scale=0.13,
        batch_size=6,
        epochs=14,
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


# The settings that are scaled, by dotted name
SCALED = (
    *(f'{loader}.dataset' for loader in LOADERS),
    'val_evaluator',
    'test_evaluator',
    'train_cfg',
    'optim_wrapper.optimizer',
    'param_scheduler',
    'default_hooks.logger',
    'default_hooks.checkpoint',
    'log_processor',
    'model.data_preprocessor',
)
# Likewise, in the network: the model, or the detector of which a semi-supervised model has two
SCALED_IN_NETWORK = ('test_cfg',)
SCALED_IN_DETECTORS = ('train_cfg.rpn_proposal', 'train_cfg.rcnn', 'test_cfg.rpn', 'test_cfg.rcnn')


def scale_down(cfg: Config, root: Path, options: Options) -> None:
    """Changes ``cfg`` in place to train on the mini data at ``root``, which is made if it does not exist.

    A config that was scaled down already, such as the one that a training saves in its work directory, stays as it is.

    Args:
        cfg: The config as its file has it, without the options.
        root: Folder of the mini data.
        options: What the user set. The schedule is scaled to the length and batch size that they set.

    Raises:
        UserError: If there is no mini recipe for the config's model, or if the config's structure is not that of
            this package's recipes.
        FileExistsError: If ``root`` holds something else.
    """
    if cfg.model.get('type') == 'ImageClassifier':
        scale_down_classification(cfg, root.with_name(f'{root.name}_classes'), options)
        return
    pretraining = cfg.model.get('type') == 'FCMAE'
    done = reads_from(cfg, root)
    if not done and not pretraining:
        _check_structure(cfg)
    mini.write_mini(root, train_images=TRAIN_IMAGES, val_images=VAL_IMAGES, image_size=IMAGE_SIZE)
    if done:
        _make_splits(cfg)
        return
    if pretraining:
        scale_down_pretraining(cfg, root, options, TRAIN_IMAGES)
        return

    recipe = RECIPES[cfg.model.type]
    segmentation = cfg.model.type == 'EncoderDecoder'
    _point_at(cfg, root / ('ade' if segmentation else 'coco'), segmentation)
    _make_splits(cfg)
    _shrink_images(cfg, recipe)
    _shrink_schedule(cfg, recipe, options)
    if not segmentation:
        _shrink_proposals(_network(cfg)[1], recipe)
    scale_down_semi(cfg)
    backbone = find_backbone(cfg.model)
    if options.get('model', *backbone_path(cfg.model), 'init_cfg') is None:
        backbone.init_cfg = None
    if 'norm_eval' in backbone:
        backbone.norm_eval = False  # random weights have no statistics to keep
    backbone.drop_path_rate = 0.0  # it regularizes 36 epochs, not a few hundred steps
    cfg.optim_wrapper.optimizer.lr = recipe.lr
    if 'decay_rate' in cfg.optim_wrapper.get('paramwise_cfg', {}):
        cfg.optim_wrapper.paramwise_cfg.decay_rate = recipe.decay_rate


def reads_from(cfg: Config, root: Path) -> bool:
    """Returns whether every dataset of a config is below ``root``."""
    roots = [
        node.get('data_root')
        for loader in LOADERS
        if cfg.get(loader) and isinstance(cfg[loader].get('dataset'), ConfigDict)
        for _, node in datasets_of(cfg[loader].dataset)
    ]
    return bool(roots) and all(isinstance(path, str) and Path(path).is_relative_to(root) for path in roots)


def _check_structure(cfg: Config) -> None:
    recipe = RECIPES.get(cfg.model.get('type'))
    if recipe is None:
        raise UserError(
            f'--mini knows {", ".join(RECIPES)}, but the model of this config is {cfg.model.get("type")}.',
            key='model.type',
        )
    ours = '--mini scales the recipes of this package; this config has '
    prefix, _ = _network(cfg)
    of_network = SCALED_IN_NETWORK + (() if cfg.model.type == 'EncoderDecoder' else SCALED_IN_DETECTORS)
    for name in (*SCALED, *(f'{prefix}.{name}' for name in of_network)):
        if look_up(cfg, tuple(name.split('.'))) is None:
            raise UserError(f'{ours}no {name}.', key=name)
    for loader in LOADERS:
        dataset = cfg[loader].dataset
        # Labelled and unlabelled images side by side are the mini data's; other wrappers have another number of images
        apart = 'datasets' in dataset and 'detector' in cfg.model and loader == 'train_dataloader'
        if any('dataset' in path for path, _ in datasets_of(dataset)) or ('datasets' in dataset and not apart):
            raise UserError(f'{ours}a {dataset.type} around the dataset of {loader}.', key=f'{loader}.dataset')
    if not {'max_epochs', 'max_iters'} & cfg.train_cfg.keys():
        raise UserError(f'{ours}neither max_epochs nor max_iters in train_cfg.', key='train_cfg')
    types = [scheduler.get('type') for scheduler in as_list(cfg.param_scheduler)]
    if len(types) != 2 or types[0] != 'LinearLR' or types[1] not in ('MultiStepLR', 'PolyLR'):
        raise UserError(
            f'{ours}the param_scheduler {types}; it must have a warm-up, LinearLR, and then MultiStepLR or PolyLR.',
            key='param_scheduler',
        )


def _network(cfg: Config) -> tuple[str, ConfigDict]:
    """The dotted name and the config of the model, or of the detector of which a semi-supervised model has two."""
    return ('model.detector', cfg.model.detector) if 'detector' in cfg.model else ('model', cfg.model)


def _point_at(cfg: Config, root: Path, segmentation: bool) -> None:
    if segmentation:
        metainfo = dict(classes=mini.SEGMENTATION_CLASSES, palette=mini.SEGMENTATION_PALETTE)
    else:
        metainfo = dict(classes=mini.DETECTION_CLASSES, palette=mini.DETECTION_PALETTE)
    for loader in (cfg[name] for name in LOADERS):
        loader.num_workers = 1
        for _, dataset in datasets_of(loader.dataset):
            dataset.update(data_root=str(root), metainfo=metainfo)
        if segmentation:
            # ADE20KDataset takes only its own classes. Besides, it only sets file suffixes and reduce_zero_label
            loader.dataset.type = 'BaseSegDataset'
            loader.dataset.reduce_zero_label = True
    cfg.data_root = str(root)
    for evaluator in walk([cfg.val_evaluator, cfg.test_evaluator]):
        if 'ann_file' in evaluator:
            evaluator.ann_file = str(root / cfg.val_dataloader.dataset.ann_file)
    for node in walk(cfg.model):
        if 'num_classes' in node:
            node.num_classes = len(metainfo['classes'])


def _make_splits(cfg: Config) -> None:
    """Makes the files that trainings with few labels read, such as ``semi_anns/instances_train2017.1@10.json``."""
    for node in walk([cfg.get(loader) for loader in LOADERS]):
        if isinstance(node.get('ann_file'), str):
            make_named_split(Path(node.get('data_root') or '', node.ann_file))


def _shrink_images(cfg: Config, recipe: MiniRecipe) -> None:
    def scaled(size: Any) -> Any:
        if isinstance(size, list | tuple):
            return type(size)(scaled(side) for side in size)
        return round(size * recipe.image_scale)

    pipelines = [cfg.train_dataloader.dataset, cfg.val_dataloader.dataset, cfg.get('tta_pipeline')]
    for node in walk(pipelines):
        if node.get('type') == 'RandomChoiceResize' and 'scales' in node:
            node.scales = scaled(node.scales)
        elif node.get('type') in ('Resize', 'RandomResize') and 'scale' in node:
            node.scale = scaled(node.scale)
        elif node.get('type') == 'RandomCrop' and not node.get('crop_type', '').startswith('relative'):
            node.crop_size = scaled(node.crop_size)
        elif 'filter_empty_gt' in node:  # every image is used, so that the number of steps is known
            node.update(filter_empty_gt=False, min_size=1)
    cfg.test_dataloader.dataset.pipeline = cfg.val_dataloader.dataset.pipeline
    if 'size' in cfg.model.data_preprocessor:
        cfg.model.data_preprocessor.size = scaled(cfg.model.data_preprocessor.size)
    test_cfg = _network(cfg)[1].test_cfg
    if test_cfg.get('mode') == 'slide':
        test_cfg.crop_size = scaled(test_cfg.crop_size)
        test_cfg.stride = scaled(test_cfg.stride)


def _shrink_schedule(cfg: Config, recipe: MiniRecipe, options: Options) -> None:
    batch_size = options.count('train_dataloader.batch_size', recipe.batch_size)
    cfg.train_dataloader.batch_size = batch_size
    # The learning rate of the mini recipe is for this batch size, whatever size the user sets
    cfg.auto_scale_lr = dict(cfg.get('auto_scale_lr') or dict(enable=False), base_batch_size=recipe.batch_size)
    steps_per_epoch = math.ceil(TRAIN_IMAGES / batch_size)
    if 'max_epochs' in cfg.train_cfg:
        full_length = cfg.train_cfg.max_epochs
        epochs = options.count('train_cfg.max_epochs', recipe.epochs)
        steps = epochs * steps_per_epoch
        cfg.train_cfg.max_epochs = epochs
        cfg.train_cfg.val_interval = math.ceil(epochs / recipe.evaluations)
    else:
        full_length = cfg.train_cfg.max_iters
        steps = options.count('train_cfg.max_iters', recipe.epochs * steps_per_epoch)
        cfg.train_cfg.max_iters = steps
        cfg.train_cfg.val_interval = math.ceil(steps / recipe.evaluations)
        cfg.default_hooks.checkpoint.interval = steps
    cfg.default_hooks.logger.interval = 10
    cfg.log_processor.window_size = 10

    # The schedule is counted in steps: it is so short that the learning rate drops within an epoch
    warmup, main = cfg.param_scheduler
    recipe_steps = recipe.epochs * math.ceil(TRAIN_IMAGES / recipe.batch_size)
    warmup.end = min(round(recipe.warmup_steps * steps / recipe_steps), steps // 2)
    main.update(by_epoch=False, end=steps)
    if 'milestones' in main:
        main.milestones = [steps * milestone // full_length for milestone in main.milestones]
    else:
        main.begin = warmup.end
    if warmup.end < 2:  # MMEngine's warm-up of one step would never end
        main.begin = 0
        cfg.param_scheduler = [main]


def _shrink_proposals(model: ConfigDict, recipe: MiniRecipe) -> None:
    for rpn in (model.train_cfg.rpn_proposal, model.test_cfg.rpn):
        rpn.nms_pre = 4 * recipe.proposals
        rpn.max_per_img = recipe.proposals
    for stage in as_list(model.train_cfg.rcnn):
        if 'sampler' in stage:
            stage.sampler.num = recipe.rois
    model.test_cfg.rcnn.max_per_img = recipe.detections
