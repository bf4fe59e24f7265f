model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(type='ImgDataPreprocessor'),  # the transforms have normalized the images
    backbone=dict(type='ConvNeXtClassifier', arch='tiny', num_classes=1000),
    label_smoothing=0.1,
)
