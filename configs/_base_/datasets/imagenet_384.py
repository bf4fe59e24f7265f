# From 384 pixels on the whole image is evaluated, its sides squashed to a square (datasets.py of the authors' code)
_base_ = './imagenet.py'

train_pipeline = _base_.train_dataloader.dataset.pipeline
train_pipeline[1].update(input_size=384)
val_pipeline = _base_.val_dataloader.dataset.pipeline
val_pipeline[1].update(input_size=384, crop_pct=1.0, crop_mode='squash')
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=64, dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
