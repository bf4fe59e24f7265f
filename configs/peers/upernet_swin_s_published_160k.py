# Published recipe: arXiv 2103.14030, mIoU 47.64 single-scale, 49.47 multi-scale;
# 81 M parameters, 1038 G MACs at 2048x512
_base_ = '../_base_/recipes/upernet_swin.py'

model = dict(
    backbone=dict(
        depths=[2, 2, 18, 2],
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://mmassets.onedl.ai/mmsegmentation/v0.5/pretrain/swin/swin_small_patch4_window7_224_20220317-7ba6d6dd.pth',
        ),
    ),
)
