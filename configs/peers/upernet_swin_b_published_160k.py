# Published recipe: arXiv 2103.14030, mIoU 48.13 single-scale, 49.72 multi-scale;
# 121 M parameters, 1188 G MACs at 2048x512
_base_ = '../_base_/recipes/upernet_swin.py'

model = dict(
    backbone=dict(
        embed_dims=128,
        depths=[2, 2, 18, 2],
        num_heads=[4, 8, 16, 32],
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://mmassets.onedl.ai/mmsegmentation/v0.5/pretrain/swin/swin_base_patch4_window7_224_20220317-e9b98025.pth',
        ),
    ),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
