# ConvNeXt V2 under V1's Mask R-CNN recipe. The V2 paper (arXiv 2301.00808) did not release its detection settings: what
# is set here and in the other V2 detection configs is ours
_base_ = './mask_rcnn_convnext_t_3x.py'

model = dict(
    backbone=dict(
        version=2,
        layer_scale_init_value=None,  # V2 has none
        init_cfg=dict(checkpoint='convnextv2_tiny.fcmae_ft_in1k'),
    )
)
