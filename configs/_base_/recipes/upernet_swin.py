# What the authors of Swin (arXiv 2103.14030) do, and MMSegmentation after them: no layer-wise decay, no weight decay of
# norms and position biases, and tests on whole images. Data, heads and schedule are those of ConvNeXt
_base_ = [
    '../models/upernet_convnext.py',
    '../datasets/ade20k.py',
    '../schedules/adamw_160k.py',
    '../segmentation_runtime.py',
]

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(
        _delete_=True,
        type='SwinTransformer',  # MMSegmentation's, which pads maps before it shifts windows, unlike timm's
        embed_dims=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        drop_path_rate=0.3,
    ),
)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01, fused=True),
    paramwise_cfg=dict(
        custom_keys=dict(
            absolute_pos_embed=dict(decay_mult=0.0),
            relative_position_bias_table=dict(decay_mult=0.0),
            norm=dict(decay_mult=0.0),
        )
    ),
)
