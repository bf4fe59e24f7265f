# ConvNeXt, arXiv 2201.03545, table 3: box AP 54.8, mask AP 47.6; 255 M parameters, 1354 G MACs
_base_ = './cascade_convnext_t_3x.py'

model = dict(
    backbone=dict(
        arch='large',
        drop_path_rate=0.7,
        init_cfg=dict(checkpoint='convnext_large.in22k'),
    ),
    neck=dict(in_channels=[192, 384, 768, 1536]),
)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
