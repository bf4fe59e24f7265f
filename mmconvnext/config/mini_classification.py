"""Scales an ImageNet recipe down to pictures of shapes: the same model and augmentation, in two minutes on a core."""

import math
from pathlib import Path

from mmengine.config import Config

from mmconvnext.config.options import LOADERS, Options
from mmconvnext.config_tree import as_list, walk
from mmconvnext.datasets import mini_classes
from mmconvnext.datasets.mini import SHAPES

TRAIN_IMAGES = 60  # of each class
VAL_IMAGES = 20
STORED = 96  # pixels of the images' sides
SIDE = 64  # pixels of what the network sees
BATCH_SIZE = 20
EPOCHS = 10
LR = 1e-3
WARMUP_EPOCHS = 2
AVERAGED_EPOCHS = 2  # over which the average of the weights reaches


def scale_down_classification(cfg: Config, root: Path, options: Options) -> None:
    """Changes ``cfg`` in place to train on the mini data at ``root``, which is made if it does not exist.

    Args:
        cfg: As its file has it, or scaled down already.
        root: Folder of the data.
        options: What the user set. The schedule is scaled to the length and batch size that they set.

    Raises:
        FileExistsError: If ``root`` holds something else.
    """
    mini_classes.write_mini_classes(root, train_images=TRAIN_IMAGES, val_images=VAL_IMAGES, side=STORED)
    if cfg.train_dataloader.dataset.data_root == str(root):
        return
    loaders = [cfg[name] for name in LOADERS if cfg.get(name)]  # ImageNet-22K has no validation
    for loader in loaders:
        loader.dataset.data_root = str(root)
        loader.dataset.data_prefix.img_path = loader.dataset.data_prefix.img_path or 'train/'
        loader.num_workers = 1
        for transform in walk(loader.dataset.pipeline):
            if 'input_size' in transform:
                transform.input_size = SIDE
    cfg.data_root = str(root)
    cfg.load_from = None
    cfg.model.backbone.update(num_classes=len(SHAPES), drop_path_rate=0.0, head_init_scale=1.0)
    if options.get('model', 'backbone', 'init_cfg') is None:
        cfg.model.backbone.init_cfg = None

    batch_size = options.count('train_dataloader.batch_size', BATCH_SIZE)
    epochs = options.count('train_cfg.max_epochs', EPOCHS)
    steps_per_epoch = max(1, len(SHAPES) * TRAIN_IMAGES // batch_size)
    steps = epochs * steps_per_epoch
    for loader in loaders:
        loader.batch_size = batch_size
    cfg.train_cfg.update(max_epochs=epochs, val_interval=math.ceil(epochs / 4))
    cfg.default_hooks.checkpoint.interval = math.ceil(epochs / 4)
    cfg.default_hooks.logger.interval = 10
    cfg.log_processor.window_size = 10
    cfg.optim_wrapper.accumulative_counts = 1
    cfg.optim_wrapper.optimizer.lr = LR
    cfg.optim_wrapper.paramwise_cfg.decay_rate = 1.0  # it protects pre-trained layers, and here there are none
    cfg.auto_scale_lr = dict(enable=False, base_batch_size=BATCH_SIZE)
    warmup_steps = round(steps * WARMUP_EPOCHS / EPOCHS)
    warmup = dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warmup_steps)
    cosine = dict(as_list(cfg.param_scheduler)[-1], by_epoch=False, begin=warmup_steps, end=steps)
    cosine.pop('convert_to_iter_based', None)
    # MMEngine's warm-up of one step would never end
    cfg.param_scheduler = [warmup, cosine] if warmup_steps > 1 else [dict(cosine, begin=0)]
    for hook in cfg.custom_hooks:
        if hook.type == 'StepEMAHook':
            hook.momentum = min(0.5, 1 / (AVERAGED_EPOCHS * steps_per_epoch))
