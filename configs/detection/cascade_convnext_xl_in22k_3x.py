# ConvNeXt, arXiv 2201.03545, table 3: box AP 55.2, mask AP 47.7; 407 M parameters, 1898 G MACs
_base_ = './cascade_convnext_t_3x.py'

model = dict(
    backbone=dict(
        arch='xlarge',
        drop_path_rate=0.8,
        init_cfg=dict(checkpoint='convnext_xlarge.in22k'),
    ),
    neck=dict(in_channels=[256, 512, 1024, 2048]),
)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
