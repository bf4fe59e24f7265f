_base_ = '../_base_/mask_rcnn_road_3x.py'

model = dict(backbone=dict(step='gelu'))
