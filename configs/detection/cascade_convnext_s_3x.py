# ConvNeXt, arXiv 2201.03545, table 3: box AP 51.9, mask AP 45.0; 108 M parameters, 827 G MACs
_base_ = './cascade_convnext_t_3x.py'

model = dict(
    backbone=dict(
        arch='small',
        drop_path_rate=0.6,
        init_cfg=dict(checkpoint='convnext_small.in1k'),
    ),
)
