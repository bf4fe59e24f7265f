_base_ = '../_base_/mask_rcnn_road_3x.py'

model = dict(backbone=dict(step='width'), neck=dict(in_channels=[384, 768, 1536, 3072]))
