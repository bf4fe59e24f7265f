# ConvNeXt, arXiv 2201.03545, table 3: box AP 54.0, mask AP 46.9; 146 M parameters, 964 G MACs
_base_ = './cascade_convnext_t_3x.py'

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.6,
        init_cfg=dict(checkpoint='convnext_base.in22k'),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
optim_wrapper = dict(optimizer=dict(lr=1e-4), paramwise_cfg=dict(decay_rate=0.8))
