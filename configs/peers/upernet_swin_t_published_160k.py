# Published recipe: arXiv 2103.14030, mIoU 44.51 single-scale, 45.81 multi-scale;
# 60 M parameters, 945 G MACs at 2048x512
_base_ = '../_base_/recipes/upernet_swin.py'

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://mmassets.onedl.ai/mmsegmentation/v0.5/pretrain/swin/swin_tiny_patch4_window7_224_20220317-1cdeb081.pth',
        ),
    ),
)
