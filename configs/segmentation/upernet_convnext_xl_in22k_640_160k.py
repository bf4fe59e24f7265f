# ConvNeXt, arXiv 2201.03545, table 4: mIoU 53.6 single-scale, 54.0 multi-scale;
# 391 M parameters, 3335 G MACs at 2560x640
_base_ = './upernet_convnext_b_in22k_640_160k.py'

model = dict(
    backbone=dict(
        arch='xlarge',
        init_cfg=dict(checkpoint='convnext_xlarge.in22k'),
    ),
    decode_head=dict(in_channels=[256, 512, 1024, 2048]),
    auxiliary_head=dict(in_channels=1024),
)
optim_wrapper = dict(optimizer=dict(lr=8e-5))
