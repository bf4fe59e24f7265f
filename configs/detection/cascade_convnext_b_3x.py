# ConvNeXt, arXiv 2201.03545, table 3: box AP 52.7, mask AP 45.6; 146 M parameters, 964 G MACs
_base_ = './cascade_convnext_t_3x.py'

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.7,
        init_cfg=dict(checkpoint='convnext_base.in1k'),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
optim_wrapper = dict(paramwise_cfg=dict(decay_rate=0.8))
