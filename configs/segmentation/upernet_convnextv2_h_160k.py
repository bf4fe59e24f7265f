# ConvNeXt V2, arXiv 2301.00808: mIoU 55.0 (57.0 from ImageNet-22k weights), in settings that were not released.
# Ours: V1's UperNet recipe with crops of 512, with the drop path of 0.4 that V1-XL, the next smaller size, has
_base_ = './upernet_convnextv2_t_160k.py'

model = dict(
    backbone=dict(
        arch='huge',
        init_cfg=dict(checkpoint='convnextv2_huge.fcmae_ft_in1k'),
    ),
    decode_head=dict(in_channels=[352, 704, 1408, 2816]),
    auxiliary_head=dict(in_channels=1408),
)
