# A larger student than its teacher, as in the paper
_base_ = './noisy_student_mask_rcnn_convnext_t_10p.py'

model = dict(
    backbone=dict(
        arch='small',
        drop_path_rate=0.7,  # 0.6 without noise, as cascade_convnext_s_3x
        init_cfg=dict(checkpoint='convnext_small.in1k'),
    )
)
