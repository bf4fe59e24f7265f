# ConvNeXt V2, arXiv 2301.00808: mIoU 53.7, in settings that were not released. Ours: V1's UperNet
# recipe with crops of 512, with the drop path of 0.4 that V1-L has
_base_ = './upernet_convnextv2_t_160k.py'

model = dict(
    backbone=dict(
        arch='large',
        init_cfg=dict(checkpoint='convnextv2_large.fcmae_ft_in1k'),
    ),
    decode_head=dict(in_channels=[192, 384, 768, 1536]),
    auxiliary_head=dict(in_channels=768),
)
