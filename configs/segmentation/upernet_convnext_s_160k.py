# ConvNeXt, arXiv 2201.03545, table 4: mIoU 48.7 single-scale, 49.6 multi-scale;
# 82 M parameters, 1027 G MACs at 2048x512
_base_ = './upernet_convnext_t_160k.py'

model = dict(
    backbone=dict(
        arch='small',
        drop_path_rate=0.3,
        init_cfg=dict(checkpoint='convnext_small.in1k'),
    ),
)
