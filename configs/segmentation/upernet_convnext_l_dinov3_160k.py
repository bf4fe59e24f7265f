# Ours: DINOv3 weights under the UperNet recipe of V1-B, with crops of 512; its drop path of 0.4 is that of V1-L too.
# No figure is published for it
_base_ = './upernet_convnext_b_160k.py'

model = dict(
    backbone=dict(arch='large', init_cfg=dict(checkpoint='convnext_large.dinov3_lvd1689m')),
    decode_head=dict(in_channels=[192, 384, 768, 1536]),
    auxiliary_head=dict(in_channels=768),
)
