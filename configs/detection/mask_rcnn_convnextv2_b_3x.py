# Ours: V1's Mask R-CNN recipe, its drop path of 0.4 included. MMDetection reports box AP 52.9, mask AP 46.4 for V2-B,
# in a recipe of its own: weights of FCMAE alone, large-scale jitter, 32 images a step, soft NMS
_base_ = './mask_rcnn_convnextv2_t_3x.py'

model = dict(
    backbone=dict(
        arch='base',
        init_cfg=dict(checkpoint='convnextv2_base.fcmae_ft_in1k'),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
