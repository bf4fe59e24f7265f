# ConvNeXt, arXiv 2201.03545, table 4: mIoU 49.1 single-scale, 49.9 multi-scale;
# 122 M parameters, 1170 G MACs at 2048x512
_base_ = './upernet_convnext_t_160k.py'

model = dict(
    backbone=dict(
        arch='base',
        init_cfg=dict(checkpoint='convnext_base.in1k'),
    ),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
