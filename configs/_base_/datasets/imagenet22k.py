# ImageNet-22K, which has no validation set
_base_ = './imagenet.py'

data_root = 'data/imagenet22k/'
train_dataloader = dict(dataset=dict(data_root=data_root, data_prefix=dict(img_path='')))
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
