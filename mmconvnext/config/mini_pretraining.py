"""Scales a pre-training down to the images of the mini data: the same model and loss, in minutes on two cores."""

import math
from pathlib import Path

from mmengine.config import Config

from mmconvnext.config.options import Options
from mmconvnext.config_tree import as_list, walk

SIZE = 128  # pixels; 16 cells, of which 6 are visible
BATCH_SIZE = 16
EPOCHS = 100
LR = 1.5e-3
WARMUP_STEPS = 100


def scale_down_pretraining(cfg: Config, root: Path, options: Options, train_images: int) -> None:
    """Changes ``cfg`` in place to pre-train on the images of the mini data in COCO's layout.

    Args:
        cfg: The config as its file has it, without the options.
        root: Folder of the mini data.
        options: What the user set. The schedule is scaled to the length and batch size that they set.
        train_images: The number of training images.
    """
    for loader, folder in (('train_dataloader', 'train2017/'), ('val_dataloader', 'val2017/')):
        dataset = cfg[loader].dataset
        dataset.update(data_root=str(root / 'coco'), data_prefix=dict(img_path=folder), ann_file='')
        cfg[loader].num_workers = 1
        for transform in walk(dataset.pipeline):
            if 'size' in transform:
                transform.size = SIZE
    batch_size = options.count('train_dataloader.batch_size', BATCH_SIZE)
    epochs = options.count('train_cfg.max_epochs', EPOCHS)
    steps_per_epoch = max(1, train_images // batch_size)
    steps = epochs * steps_per_epoch
    cfg.train_dataloader.batch_size = cfg.val_dataloader.batch_size = batch_size
    cfg.train_cfg.update(max_epochs=epochs, val_interval=math.ceil(epochs / 5))
    cfg.default_hooks.checkpoint.interval = math.ceil(epochs / 5)
    cfg.optim_wrapper.update(accumulative_counts=1)
    cfg.optim_wrapper.optimizer.lr = LR
    cfg.auto_scale_lr = dict(enable=False, base_batch_size=BATCH_SIZE)
    warmup, main = as_list(cfg.param_scheduler)
    warmup_steps = max(2, round(WARMUP_STEPS * steps / (EPOCHS * (train_images // BATCH_SIZE))))
    warmup.update(by_epoch=False, end=warmup_steps, convert_to_iter_based=False)
    main.update(by_epoch=False, begin=warmup_steps, end=steps, convert_to_iter_based=False)
