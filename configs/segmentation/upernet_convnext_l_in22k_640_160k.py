# ConvNeXt, arXiv 2201.03545, table 4: mIoU 53.2 single-scale, 53.7 multi-scale;
# 235 M parameters, 2458 G MACs at 2560x640
_base_ = './upernet_convnext_b_in22k_640_160k.py'

model = dict(
    backbone=dict(
        arch='large',
        init_cfg=dict(checkpoint='convnext_large.in22k'),
    ),
    decode_head=dict(in_channels=[192, 384, 768, 1536]),
    auxiliary_head=dict(in_channels=768),
)
