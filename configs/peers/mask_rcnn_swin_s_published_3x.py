# Published recipe: Swin-Transformer-Object-Detection, box AP 48.5, mask AP 43.3;
# 69 M parameters, 359 G MACs at 1280x800
_base_ = '../_base_/recipes/mask_rcnn_swin.py'

model = dict(
    backbone=dict(
        depths=[2, 2, 18, 2],
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_small_patch4_window7_224.pth',
        ),
    )
)
