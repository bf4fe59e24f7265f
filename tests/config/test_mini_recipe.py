import shutil

import pytest

from mmconvnext.config import mini_recipe
from mmconvnext.config.options import Options
from mmconvnext.config.prepare import load_config
from mmconvnext.config_tree import walk
from mmconvnext.datasets.mini import DETECTION_CLASSES, SEGMENTATION_CLASSES
from mmconvnext.errors import UserError


@pytest.fixture(autouse=True)
def _few_images(monkeypatch):
    monkeypatch.setattr(mini_recipe, 'TRAIN_IMAGES', 8)
    monkeypatch.setattr(mini_recipe, 'VAL_IMAGES', 4)


def num_classes(cfg):
    return {node.num_classes for node in walk(cfg.model) if 'num_classes' in node}


def test_detector(root, tmp_path):
    cfg = load_config(root / 'configs/detection/cascade_convnext_t_3x.py')
    full = load_config(root / 'configs/detection/cascade_convnext_t_3x.py')
    mini_recipe.scale_down(cfg, tmp_path / 'mini', Options(None, cfg))
    assert num_classes(cfg) == {len(DETECTION_CLASSES)}
    assert cfg.val_dataloader.dataset.metainfo.classes == DETECTION_CLASSES
    assert (tmp_path / 'mini/coco' / cfg.train_dataloader.dataset.ann_file).is_file()
    recipe = mini_recipe.RECIPES['CascadeRCNN']
    assert cfg.train_cfg.max_epochs == recipe.epochs
    # 8 images: the learning rate drops after the same shares of the schedule as in the full recipe
    steps = recipe.epochs * 8 // recipe.batch_size
    schedule = cfg.param_scheduler[1]
    assert (schedule.by_epoch, schedule.end) == (False, steps)
    assert schedule.milestones == [steps * 27 // 36, steps * 33 // 36]
    assert cfg.auto_scale_lr.base_batch_size == recipe.batch_size
    scales = [n.scales for n in walk(cfg.train_dataloader.dataset) if 'scales' in n]
    assert scales[0][-1] == (round(800 * recipe.image_scale), round(1333 * recipe.image_scale))
    assert {stage.sampler.num for stage in cfg.model.train_cfg.rcnn} == {recipe.rois}
    assert cfg.model.backbone.init_cfg is None
    # The model and its losses are the full recipe's
    for ours, theirs in zip(cfg.model.roi_head.bbox_head, full.model.roi_head.bbox_head):
        assert {k: v for k, v in ours.items() if k != 'num_classes'} == {
            k: v for k, v in theirs.items() if k != 'num_classes'
        }
    assert cfg.model.backbone.arch == 'tiny'


def test_segmentor(root, tmp_path):
    cfg = load_config(root / 'configs/segmentation/upernet_convnext_t_160k.py')
    mini_recipe.scale_down(cfg, tmp_path / 'mini', Options(None, cfg))
    assert num_classes(cfg) == {len(SEGMENTATION_CLASSES)}
    side = round(512 * mini_recipe.RECIPES['EncoderDecoder'].image_scale)
    assert cfg.model.data_preprocessor.size == (side, side)
    assert cfg.model.test_cfg.crop_size == (side, side)
    assert cfg.param_scheduler[1].end == cfg.train_cfg.max_iters
    assert cfg.train_cfg.max_iters % cfg.train_cfg.val_interval == 0
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        prefix = loader.dataset.data_prefix
        assert (tmp_path / 'mini/ade' / prefix.img_path).is_dir()
        assert (tmp_path / 'mini/ade' / prefix.seg_map_path).is_dir()


def test_unknown_model_is_refused(root, tmp_path):
    cfg = load_config(root / 'configs/detection/cascade_convnext_t_3x.py')
    cfg.model.type = 'RetinaNet'
    with pytest.raises(UserError) as error:
        mini_recipe.scale_down(cfg, tmp_path / 'mini', Options(None, cfg))
    assert error.value.facts == dict(key='model.type')


@pytest.fixture
def schedule(root, tmp_path, monkeypatch):
    """The schedule of a config under options, for 200 images."""
    monkeypatch.setattr(mini_recipe, 'TRAIN_IMAGES', 200)
    monkeypatch.setattr(mini_recipe.mini, 'write_mini', lambda *args, **kwargs: None)

    def scaled(config, options):
        cfg = load_config(root / f'configs/{config}.py')
        mini_recipe.scale_down(cfg, tmp_path / 'mini', Options(options, cfg))
        return cfg, *cfg.param_scheduler

    return scaled


@pytest.mark.parametrize(
    ('options', 'epochs', 'val_interval', 'warmup_end', 'end', 'milestones'),
    [
        ({}, 6, 2, 30, 300, [225, 275]),
        ({'train_cfg.max_epochs': 36}, 36, 12, 180, 1800, [1350, 1650]),
        ({'train_cfg.max_epochs': 1}, 1, 1, 5, 50, [37, 45]),
        ({'train_dataloader.batch_size': 16}, 6, 2, 8, 78, [58, 71]),
        ({'train_cfg': {'max_epochs': 4}, 'train_dataloader': {'batch_size': 8}}, 4, 2, 10, 100, [75, 91]),
    ],
)
def test_schedule_in_epochs_is_that_of_the_length_asked_for(
    schedule, options, epochs, val_interval, warmup_end, end, milestones
):
    cfg, warmup, main = schedule('detection/mask_rcnn_convnext_t_3x', options)
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_interval) == (epochs, val_interval)
    assert (warmup.begin, warmup.end) == (0, warmup_end)
    assert (main.by_epoch, main.end, main.milestones) == (False, end, milestones)
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=4)


@pytest.mark.parametrize(
    ('options', 'steps', 'val_interval', 'warmup_end'),
    [
        ({}, 300, 100, 30),
        ({'train_cfg.max_iters': 1000}, 1000, 334, 100),
        ({'train_cfg.max_iters': 20}, 20, 7, 2),
        ({'train_dataloader.batch_size': 8}, 150, 50, 15),
    ],
)
def test_schedule_in_iterations_is_that_of_the_length_asked_for(schedule, options, steps, val_interval, warmup_end):
    cfg, warmup, main = schedule('segmentation/upernet_convnext_t_160k', options)
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (steps, val_interval)
    assert cfg.default_hooks.checkpoint.interval == steps
    assert warmup.end == main.begin == warmup_end
    assert main.end == steps


@pytest.mark.parametrize('steps', [1, 2, 10])
def test_schedule_too_short_for_a_warmup_has_none(schedule, steps):
    _, main = schedule('segmentation/upernet_convnext_t_160k', {'train_cfg.max_iters': steps})
    assert (main.type, main.begin, main.end) == ('PolyLR', 0, steps)


@pytest.mark.parametrize('name', ['train_cfg.max_epochs', 'train_dataloader.batch_size'])
@pytest.mark.parametrize('value', [0, -1, 'many', 1.5])
def test_length_that_is_no_number_of_steps_is_a_sentence(schedule, name, value):
    with pytest.raises(UserError) as error:
        schedule('detection/mask_rcnn_convnext_t_3x', {name: value})
    assert error.value.facts == dict(key=name)


def test_config_scaled_down_before_stays_as_it_is(root, tmp_path):
    cfg = load_config(root / 'configs/segmentation/upernet_convnext_t_160k.py')
    mini_recipe.scale_down(cfg, tmp_path / 'mini', Options(None, cfg))
    before = cfg.to_dict()
    shutil.rmtree(tmp_path / 'mini')
    mini_recipe.scale_down(cfg, tmp_path / 'mini', Options(None, cfg))
    assert cfg.to_dict() == before
    assert (tmp_path / 'mini/ade/images/training').is_dir()  # the data is there again


@pytest.mark.parametrize(
    ('change', 'key'),
    [
        (dict(val_dataloader=None, val_evaluator=None, val_cfg=None), 'val_dataloader.dataset'),
        (dict(param_scheduler=dict(type='PolyLR')), 'param_scheduler'),
        (dict(param_scheduler=None), 'param_scheduler'),
        (dict(train_cfg=dict(type='Own')), 'train_cfg'),
        (dict(train_dataloader=dict(dataset=dict(type='RepeatDataset', dataset=dict()))), 'train_dataloader.dataset'),
        (dict(train_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=[]))), 'train_dataloader.dataset'),
        (dict(log_processor=None), 'log_processor'),
    ],
)
def test_config_of_another_structure_is_refused(root, tmp_path, change, key):
    cfg = load_config(root / 'configs/detection/mask_rcnn_convnext_t_3x.py')
    for name, value in change.items():
        cfg[name] = value
    with pytest.raises(UserError) as error:
        mini_recipe.scale_down(cfg, tmp_path / 'mini', Options(None, cfg))
    assert error.value.facts == dict(key=key)
    assert not (tmp_path / 'mini').exists()


def test_config_without_layer_decay_is_scaled(root, tmp_path):
    cfg = load_config(root / 'configs/detection/mask_rcnn_convnext_t_3x.py')
    cfg.optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
    cfg.pop('auto_scale_lr')
    mini_recipe.scale_down(cfg, tmp_path / 'mini', Options(None, cfg))
    assert cfg.optim_wrapper == dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3))


def test_sizes_in_every_form_are_scaled_with_those_of_test_time_augmentation(root, tmp_path):
    cfg = load_config(root / 'configs/segmentation/upernet_convnext_t_160k.py')
    cfg.train_dataloader.dataset.pipeline = [
        dict(type='Resize', scale_factor=2.0),
        dict(type='RandomResize', scale=[(2048, 512), (2048, 1024)]),
        dict(type='RandomCrop', crop_size=512),
        dict(type='RandomCrop', crop_type='relative_range', crop_size=(0.5, 0.5)),
    ]
    mini_recipe.scale_down(cfg, tmp_path / 'mini', Options(None, cfg))
    factor, resize, crop, relative = cfg.train_dataloader.dataset.pipeline
    assert factor == dict(type='Resize', scale_factor=2.0)
    assert (resize.scale, crop.crop_size, relative.crop_size) == ([(512, 128), (512, 256)], 128, (0.5, 0.5))
    resizes = cfg.tta_pipeline[1].transforms[0]
    assert [t.scale for t in resizes][2] == cfg.test_dataloader.dataset.pipeline[1].scale == (512, 128)
