_base_ = '../_base_/mask_rcnn_road_3x.py'

model = dict(backbone=dict(step='resnet'), neck=dict(in_channels=[256, 512, 1024, 2048]))
