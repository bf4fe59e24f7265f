"""The configs that the authors published are their recipes, value by value.

The tables are those of the papers and of the authors' repository, written down here by hand and not from the configs:
arXiv 2201.03545, tables 3 and 4 and the appendix, and facebookresearch/ConvNeXt, folders object_detection and
semantic_segmentation.
"""

from typing import NamedTuple

import pytest
import yaml
from mmengine.config import Config

from mmconvnext.backbones import resolve_arch
from mmconvnext.backbones.staged import derive_num_layers
from mmconvnext.checkpoints.manifest import MANIFEST
from mmconvnext.config_tree import walk
from tests.conftest import ROOT
from zoo.page import PUBLISHED_COSTS

SERVER = 'https://dl.fbaipublicfiles.com/convnext/'


class Detector(NamedTuple):
    arch: str
    weights: str
    drop_path: float
    lr: float
    decay_rate: float
    num_layers: int
    box_ap: float
    mask_ap: float
    trained: str


class Segmentor(NamedTuple):
    arch: str
    weights: str
    crop: int
    drop_path: float
    lr: float
    num_layers: int
    single_scale: float
    multi_scale: float
    trained: str


DETECTORS = {
    'mask_rcnn_convnext_t_3x': Detector(
        'tiny', 'tiny_1k_224', 0.4, 1e-4, 0.95, 6, 46.2, 41.7, 'mask_rcnn_convnext_tiny_1k_3x'
    ),
    'cascade_convnext_t_3x': Detector(
        'tiny', 'tiny_1k_224', 0.4, 2e-4, 0.7, 6, 50.4, 43.7, 'cascade_mask_rcnn_convnext_tiny_1k_3x'
    ),
    'cascade_convnext_s_3x': Detector(
        'small', 'small_1k_224', 0.6, 2e-4, 0.7, 12, 51.9, 45.0, 'cascade_mask_rcnn_convnext_small_1k_3x'
    ),
    'cascade_convnext_b_3x': Detector(
        'base', 'base_1k_224', 0.7, 2e-4, 0.8, 12, 52.7, 45.6, 'cascade_mask_rcnn_convnext_base_1k_3x'
    ),
    'cascade_convnext_b_in22k_3x': Detector(
        'base', 'base_22k_224', 0.6, 1e-4, 0.8, 12, 54.0, 46.9, 'cascade_mask_rcnn_convnext_base_22k_3x'
    ),
    'cascade_convnext_l_in22k_3x': Detector(
        'large', 'large_22k_224', 0.7, 1e-4, 0.7, 12, 54.8, 47.6, 'cascade_mask_rcnn_convnext_large_22k_3x'
    ),
    'cascade_convnext_xl_in22k_3x': Detector(
        'xlarge', 'xlarge_22k_224', 0.8, 1e-4, 0.7, 12, 55.2, 47.7, 'cascade_mask_rcnn_convnext_xlarge_22k_3x'
    ),
}
SEGMENTORS = {
    'upernet_convnext_t_160k': Segmentor(
        'tiny', 'tiny_1k_224', 512, 0.4, 1e-4, 6, 46.0, 46.7, 'upernet_convnext_tiny_1k_512x512'
    ),
    'upernet_convnext_s_160k': Segmentor(
        'small', 'small_1k_224', 512, 0.3, 1e-4, 12, 48.7, 49.6, 'upernet_convnext_small_1k_512x512'
    ),
    'upernet_convnext_b_160k': Segmentor(
        'base', 'base_1k_224', 512, 0.4, 1e-4, 12, 49.1, 49.9, 'upernet_convnext_base_1k_512x512'
    ),
    'upernet_convnext_b_in22k_640_160k': Segmentor(
        'base', 'base_22k_224', 640, 0.4, 1e-4, 12, 52.6, 53.1, 'upernet_convnext_base_22k_640x640'
    ),
    'upernet_convnext_l_in22k_640_160k': Segmentor(
        'large', 'large_22k_224', 640, 0.4, 1e-4, 12, 53.2, 53.7, 'upernet_convnext_large_22k_640x640'
    ),
    'upernet_convnext_xl_in22k_640_160k': Segmentor(
        'xlarge', 'xlarge_22k_224', 640, 0.4, 8e-5, 12, 53.6, 54.0, 'upernet_convnext_xlarge_22k_640x640'
    ),
}
DETECTION_SHORT_SIDES = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
# By crop: the slide's stride, the scale of training and testing, and those of the multi-scale test
STRIDES = {512: 341, 640: 426}
SCALES = {512: (2048, 512), 640: (2560, 640)}
MULTI_SCALES = {
    512: [(1024, 256), (1536, 384), (2048, 512), (2560, 640), (3072, 768), (3584, 896)],
    640: [(1280, 320), (1920, 480), (2560, 640), (3200, 800), (3840, 960), (4480, 1120)],
}


@pytest.fixture(params=DETECTORS)
def detector(request):
    """Config and row of each published detector."""
    return Config.fromfile(ROOT / f'configs/detection/{request.param}.py'), DETECTORS[request.param]


@pytest.fixture(params=SEGMENTORS)
def segmentor(request):
    """Config and row of each published segmentor."""
    return Config.fromfile(ROOT / f'configs/segmentation/{request.param}.py'), SEGMENTORS[request.param]


def assert_backbone(backbone, row):
    assert backbone.type == 'ConvNeXt'
    assert (backbone.arch, backbone.get('version', 1)) == (row.arch, 1)
    assert backbone.drop_path_rate == row.drop_path
    assert backbone.layer_scale_init_value == 1.0
    assert backbone.get('out_indices', (0, 1, 2, 3)) == (0, 1, 2, 3)
    assert backbone.get('frozen_stages', -1) == -1
    assert backbone.init_cfg.type == 'ConvNeXtPretrained'
    assert MANIFEST[backbone.init_cfg.checkpoint].url == f'{SERVER}convnext_{row.weights}.pth'


def assert_optimizer(cfg, row, decay_rate, decay_type):
    wrapper = cfg.optim_wrapper
    assert (wrapper.type, wrapper.constructor) == ('AmpOptimWrapper', 'LayerDecayOptimWrapperConstructor')
    assert wrapper.optimizer == dict(type='AdamW', lr=row.lr, betas=(0.9, 0.999), weight_decay=0.05, fused=True)
    assert wrapper.paramwise_cfg == dict(decay_rate=decay_rate, decay_type=decay_type)
    assert derive_num_layers(resolve_arch(row.arch).depths) == row.num_layers
    assert cfg.train_dataloader.batch_size == 2
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=16)


def find(pipeline, kind):
    """The only transform of a kind in a pipeline."""
    (transform,) = [t for t in pipeline if t.type == kind]
    return transform


def test_every_published_recipe_is_checked():
    assert set(PUBLISHED_COSTS) == {*DETECTORS, *SEGMENTORS}


def test_detector_starts_from_its_weights_with_its_drop_path(detector):
    cfg, row = detector
    assert_backbone(cfg.model.backbone, row)


def test_detector_is_optimized_as_published(detector):
    cfg, row = detector
    assert_optimizer(cfg, row, row.decay_rate, 'layer_wise')
    assert (cfg.train_cfg.type, cfg.train_cfg.max_epochs) == ('EpochBasedTrainLoop', 36)
    warmup, steps = cfg.param_scheduler
    assert warmup == dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000)
    assert steps == dict(type='MultiStepLR', by_epoch=True, begin=0, end=36, milestones=[27, 33], gamma=0.1)


def test_detector_sees_images_as_published(detector):
    cfg, _ = detector
    pipeline = cfg.train_dataloader.dataset.pipeline
    assert find(pipeline, 'RandomFlip').prob == 0.5
    choice = find(pipeline, 'RandomChoice')
    assert 'prob' not in choice  # both ways as often
    (resize,), (before, crop, after) = choice.transforms
    assert resize.scales == after.scales == [(short, 1333) for short in DETECTION_SHORT_SIDES]
    assert before.scales == [(400, 1333), (500, 1333), (600, 1333)]
    assert all(t.type == 'RandomChoiceResize' and t.keep_ratio for t in (resize, before, after))
    assert (crop.crop_type, crop.crop_size, crop.allow_negative_crop) == ('absolute_range', (384, 600), True)
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        test = find(loader.dataset.pipeline, 'Resize')
        assert (test.scale, test.keep_ratio) == ((1333, 800), True)


def test_detector_has_the_published_heads(detector):
    cfg, _ = detector
    model = cfg.model
    assert (model.neck.type, model.neck.out_channels, model.neck.num_outs) == ('FPN', 256, 5)
    anchors = model.rpn_head.anchor_generator
    assert (anchors.scales, anchors.ratios, anchors.strides) == ([8], [0.5, 1.0, 2.0], [4, 8, 16, 32, 64])
    if model.type == 'MaskRCNN':
        return
    assert model.train_cfg.rpn.allowed_border == 0
    assert len(model.roi_head.bbox_head) == model.roi_head.num_stages == 3
    for head in model.roi_head.bbox_head:
        assert (head.num_shared_convs, head.conv_out_channels, head.num_shared_fcs, head.fc_out_channels) == (
            4,
            256,
            1,
            1024,
        )
        assert head.norm_cfg.type == 'SyncBN'
        assert (head.loss_bbox.type, head.loss_bbox.loss_weight) == ('GIoULoss', 10.0)
        assert head.reg_decoded_bbox
        assert not head.reg_class_agnostic


def test_segmentor_starts_from_its_weights_with_its_drop_path(segmentor):
    cfg, row = segmentor
    assert_backbone(cfg.model.backbone, row)


def test_segmentor_is_optimized_as_published(segmentor):
    cfg, row = segmentor
    assert_optimizer(cfg, row, 0.9, 'stage_wise')
    assert (cfg.train_cfg.type, cfg.train_cfg.max_iters) == ('IterBasedTrainLoop', 160000)
    warmup, poly = cfg.param_scheduler
    assert warmup == dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500)
    assert poly == dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=1500, end=160000)


def test_segmentor_sees_images_as_published(segmentor):
    cfg, row = segmentor
    crop = (row.crop, row.crop)
    train = cfg.train_dataloader.dataset.pipeline
    resize = find(train, 'RandomResize')
    assert (resize.scale, resize.ratio_range, resize.keep_ratio) == (SCALES[row.crop], (0.5, 2.0), True)
    assert (find(train, 'RandomCrop').crop_size, find(train, 'RandomCrop').cat_max_ratio) == (crop, 0.75)
    assert find(train, 'RandomFlip').prob == 0.5
    assert cfg.model.data_preprocessor.size == crop
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        test = find(loader.dataset.pipeline, 'Resize')
        assert (test.scale, test.keep_ratio) == (SCALES[row.crop], True)
    # The label 0 of ADE20K's maps is no class: every way of loading them must say so
    pipelines = [train, cfg.val_dataloader.dataset.pipeline, cfg.test_dataloader.dataset.pipeline, cfg.tta_pipeline]
    loads = [node for node in walk(pipelines) if node.get('type') == 'LoadAnnotations']
    assert len(loads) == 4
    assert all(n.reduce_zero_label for n in loads)


def test_segmentor_is_tested_as_published(segmentor):
    cfg, row = segmentor
    stride = STRIDES[row.crop]
    assert cfg.model.test_cfg == dict(mode='slide', crop_size=(row.crop, row.crop), stride=(stride, stride))
    assert cfg.tta_test_cfg == dict(mode='whole')
    (resizes, flips, _, _) = cfg.tta_pipeline[-1].transforms
    assert [t.scale for t in resizes] == MULTI_SCALES[row.crop]
    assert all(t.keep_ratio for t in resizes)
    assert [t.prob for t in flips] == [0.0, 1.0]


def test_segmentor_has_the_published_heads(segmentor):
    cfg, _ = segmentor
    decode, auxiliary = cfg.model.decode_head, cfg.model.auxiliary_head
    assert (decode.type, decode.channels, decode.pool_scales) == ('UPerHead', 512, (1, 2, 3, 6))
    assert (decode.dropout_ratio, decode.num_classes, decode.norm_cfg.type) == (0.1, 150, 'SyncBN')
    assert (auxiliary.type, auxiliary.in_index, auxiliary.channels) == ('FCNHead', 2, 256)
    assert (auxiliary.num_classes, auxiliary.norm_cfg.type) == (150, 'SyncBN')
    assert auxiliary.loss_decode.loss_weight == 0.4


def test_metafile_has_the_authors_files_and_figures():
    models = {m['Name']: m for m in yaml.safe_load((ROOT / 'configs/metafile.yml').read_text())['Models']}
    urls, figures = {}, {}
    for name, row in DETECTORS.items():
        urls[name] = f'{SERVER}coco/{row.trained}.pth'
        figures[name] = {'box AP': row.box_ap, 'mask AP': row.mask_ap}
    for name, row in SEGMENTORS.items():
        urls[name] = f'{SERVER}ade20k/{row.trained}.pth'
        figures[name] = {'mIoU': row.single_scale, 'multi-scale': row.multi_scale}
    assert {name: m['Weights'] for name, m in models.items() if 'Weights' in m} == urls
    reported = {}
    for name, model in models.items():
        for result in model.get('Results', []):
            reported.setdefault(name, {}).update(result['Metrics'])
    assert reported == figures
