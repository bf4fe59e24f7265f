# Student and teacher are two of these detectors
_base_ = './faster_rcnn_convnext.py'

detector = _base_.model
detector.backbone.init_cfg = dict(type='ConvNeXtPretrained', checkpoint='convnext_tiny.in1k')
model = dict(
    _delete_=True,
    detector=detector,
    data_preprocessor=dict(type='MultiBranchDataPreprocessor', data_preprocessor=detector.data_preprocessor),
)
