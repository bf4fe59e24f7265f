# 90 epochs on ImageNet-22K, 5 of them warm-up (arXiv 2201.03545, table 5; arXiv 2301.00808, table 12). Nothing is
# evaluated: it has no validation set
_base_ = './imagenet_300e.py'

max_epochs = 90
warmup_epochs = 5
train_cfg = dict(max_epochs=max_epochs)
val_cfg = None
test_cfg = None
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = param_scheduler[1].begin = warmup_epochs
param_scheduler[1].end = max_epochs
