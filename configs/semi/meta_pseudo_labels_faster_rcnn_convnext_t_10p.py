# Meta Pseudo Labels (arXiv 2003.10580) for detection on 10 % of COCO's labels. No figure is published for it.
# The shares of the training are those of the authors' ImageNet run with 10 % of the labels: 20 000 of 700 000 steps
# until the student starts, 50 000 until the consistency has its weight
_base_ = [
    '../_base_/models/semi_faster_rcnn_convnext.py',
    '../_base_/datasets/semi_coco_detection_10p.py',
    '../_base_/semi_detection_runtime.py',
    '../_base_/schedules/adamw_semi_180k.py',
]

model = dict(
    type='MetaPseudoLabels',
    semi_train_cfg=dict(
        pseudo_thr=0.7,
        student_wait=0.03,
        finetune=0.1,
        consistency_weight=1.0,
        consistency_ramp=0.07,
        feedback_weight=1.0,
        baseline_rate=0.01,
    ),
    semi_test_cfg=dict(predict_on='student'),
)
optim_wrapper = dict(constructor='StudentTeacherOptimWrapperConstructor')
# Student and teacher take their steps one after the other, so each has a wrapper of its own
model_wrapper_cfg = dict(type='StudentTeacherDistributed')
