# What the authors of Swin (arXiv 2103.14030) do, and MMDetection after them: no layer-wise decay, and no weight decay
# of norms and position biases. Data, heads and schedule are those of ConvNeXt, whose authors took them over
_base_ = [
    '../models/mask_rcnn_convnext.py',
    '../datasets/coco_instance.py',
    '../schedules/adamw_3x.py',
    '../detection_runtime.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='SwinTransformer',  # MMDetection's, which pads maps before it shifts windows, unlike timm's
        embed_dims=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        drop_path_rate=0.2,
        convert_weights=True,
    )
)
optim_wrapper = dict(
    _delete_=True,
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05, fused=True),
    paramwise_cfg=dict(
        custom_keys=dict(
            absolute_pos_embed=dict(decay_mult=0.0),
            relative_position_bias_table=dict(decay_mult=0.0),
            norm=dict(decay_mult=0.0),
        )
    ),
)
