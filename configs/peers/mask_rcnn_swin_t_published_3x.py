# Published recipe: Swin-Transformer-Object-Detection, box AP 46.0, mask AP 41.6;
# 48 M parameters, 267 G MACs at 1280x800
_base_ = '../_base_/recipes/mask_rcnn_swin.py'

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_tiny_patch4_window7_224.pth',
        )
    )
)
