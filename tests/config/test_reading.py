from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmconvnext.config import reading
from mmconvnext.config.backbone import find_backbone
from mmconvnext.config.data_root import set_data_root
from mmconvnext.config.options import DICTIONARIES, Options
from mmconvnext.config.prepare import load_config
from mmconvnext.config.pretrained import set_pretrained
from mmconvnext.config.reading import is_segmentation
from mmconvnext.config_tree import walk
from mmconvnext.errors import UserError
from tests.conftest import ROOT


def test_widths_follow_the_arch(detector, segmentor):
    cfg = load_config(detector, {'model.backbone.arch': 'atto'})
    assert cfg.model.neck.in_channels == [40, 80, 160, 320]
    cfg = load_config(segmentor, {'model.backbone.arch': 'base', 'model.decode_head.in_index': [1, 2, 3]})
    assert cfg.model.decode_head.in_channels == [256, 512, 1024]
    assert cfg.model.auxiliary_head.in_channels == 512


def test_wrong_backbone_argument_fails_before_anything_is_built(detector):
    with pytest.raises(UserError, match='tinny'):
        load_config(detector, {'model.backbone.arch': 'tinny'})
    with pytest.raises(UserError, match=r'--cfg-options.* arch='):
        load_config(detector, {'model.backbone.arch.depths': [1, 1, 1, 1]})
    with pytest.raises(UserError) as error:
        load_config('configs/detection/none.py')
    assert error.value.facts == dict(config='configs/detection/none.py')


def test_config_that_is_not_there_says_what_may_be_meant(root, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, 'INSTALLED', root / 'configs')
    beside = root / 'configs/detection/mask_rcnn_convnext_t_3x.py'
    with pytest.raises(UserError, match=str(beside)):
        load_config(beside.with_name('mask_rcnn_convnet_t_3x.py'))
    with pytest.raises(UserError, match=r'mmconvnext::detection/mask_rcnn_convnext_t_3x.py'):
        load_config('mmconvnext::detection/mask_rcnn_convnext_t_3.py')
    with pytest.raises(UserError, match=r'nothing_like_it\.py'):
        load_config(tmp_path / 'nothing_like_it.py')


def test_config_is_found_by_its_name_in_the_package(root, monkeypatch, tmp_path):
    monkeypatch.setattr(reading, 'INSTALLED', root / 'configs')
    monkeypatch.chdir(tmp_path)
    cfg = load_config('mmconvnext::segmentation/upernet_convnext_t_160k.py')
    assert cfg.model.decode_head.type == 'UPerHead'


def test_base_is_found_by_its_name_in_the_package(root, monkeypatch, tmp_path):
    """MMEngine knows OpenMMLab's packages only."""
    monkeypatch.setattr(reading, 'INSTALLED', root / 'configs')
    path = tmp_path / 'own.py'
    base = 'mmconvnext::detection/mask_rcnn_convnext_t_3x.py'
    path.write_text(f'_base_ = {base!r}\ntrain_dataloader = dict(batch_size=7)\nneck = _base_.model.neck\n')
    cfg = load_config(path, {'model.backbone.arch': 'atto'})
    assert cfg.train_dataloader.batch_size == 7
    assert cfg.train_dataloader.dataset.type == 'CocoDataset'
    assert cfg.model.neck.in_channels == [40, 80, 160, 320]
    assert not any('_scope_' in node for node in walk([cfg.neck, cfg.model]))
    path.write_text("_base_ = 'mmconvnext::detection/none.py'")
    with pytest.raises(UserError, match=r'detection/none\.py'):
        load_config(path)
    assert Config._get_cfg_path('a.py', '/x/b.py') == ('/x/a.py', None)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('lr = 1', 'model'),
        ('model = dict(', 'Python'),
        ('model = dict(x=lr)', 'NameError: .*lr'),
        ("model = dict()\nx = model['y']", 'KeyError: .*y'),
        ("_base_ = 'nowhere.py'", r'nowhere\.py'),
        ("custom_imports = dict(imports=['nowhere'])", 'ImportError: .*nowhere'),
        ('import math\nmodel = math.nothing', '(Attribute|Import)Error: .*nothing'),
    ],
)
def test_file_that_is_no_config_of_a_model_is_a_sentence(tmp_path, text, words):
    path = tmp_path / 'config.py'
    path.write_text(text)
    with pytest.raises(UserError, match=words) as error:
        load_config(path)
    assert error.value.facts == dict(config=str(path))


def test_options_stay_as_they_were_given(detector):
    options = {'model.backbone.arch': dict(depths=(1, 1, 1, 1), widths=(8, 8, 8, 8), _delete_=True)}
    for _ in range(2):
        assert load_config(detector, options).model.neck.in_channels == [8, 8, 8, 8]
    with pytest.raises(UserError) as error:
        Options({'train_cfg': 1, 'train_cfg.max_epochs': 2}, Config())
    assert error.value.facts == dict(settings=['train_cfg', 'train_cfg.max_epochs'])


def test_arch_of_one_s_own_in_a_config_names_delete(detector, tmp_path):
    path = tmp_path / 'own.py'
    text = f'_base_ = {detector!r}\nmodel = dict(backbone=dict(arch=dict(depths=(1, 1, 1, 1), widths=(8, 8, 8, 16))))'
    path.write_text(text)
    with pytest.raises(ValueError, match=r'own\.py: arch .*_delete_=True'):
        load_config(path)
    path.write_text(text.replace('depths', '_delete_=True, depths'))
    assert load_config(path).model.neck.in_channels == [8, 8, 8, 16]


def test_dictionary_for_a_list_of_the_base_names_the_list(tmp_path):
    """The heads of a Cascade are a list, where ``_delete_=True`` would leave one head."""
    path = tmp_path / 'own.py'
    base = str(ROOT / 'configs/detection/cascade_convnext_t_3x.py')
    path.write_text(f'_base_ = {base!r}\nmodel = dict(roi_head=dict(bbox_head=dict(num_classes=2)))')
    with pytest.raises(UserError) as error:
        load_config(path)
    assert 'list' in str(error.value)
    assert '_delete_' not in str(error.value)


def test_schedule_that_would_never_run(detector):
    """MMEngine fails with a traceback when the training starts."""
    with pytest.raises(UserError) as error:
        load_config(detector, {'param_scheduler.1.end': 0})
    assert error.value.facts == dict(key='param_scheduler.1')


def test_dictionary_of_an_option_takes_the_place_of_what_is_none(detector):
    arch = dict(depths=(1, 1, 1, 1), widths=(8, 8, 8, 16))
    for options in ({'model.backbone.arch': arch}, {'model': dict(backbone=dict(arch=arch))}):
        cfg = load_config(detector, options)
        assert cfg.model.backbone.arch == arch
        assert cfg.model.backbone.type == 'ConvNeXt'
        assert cfg.model.neck.in_channels == [8, 8, 8, 16]
    assert '_delete_' not in arch
    cfg = load_config(detector, {'train_cfg': dict(max_epochs=1), 'custom': dict(x=1)})
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.type, cfg.custom) == (1, 'EpochBasedTrainLoop', dict(x=1))
    cfg = load_config(detector, {'param_scheduler': {'0': dict(end=7)}})
    assert (cfg.param_scheduler[0].type, cfg.param_scheduler[0].end) == ('LinearLR', 7)
    cfg = load_config(detector, {'param_scheduler': dict(type='ConstantLR')})
    assert cfg.param_scheduler == dict(type='ConstantLR')
    cfg = load_config(detector, {'load_from': None, 'model.backbone.init_cfg': None})
    assert cfg.model.backbone.init_cfg is None


@pytest.mark.parametrize('key', DICTIONARIES)
def test_part_of_the_config_that_is_no_dictionary(detector, key):
    with pytest.raises(UserError) as error:
        load_config(detector, {key: 3})
    assert error.value.facts == dict(key=key)


def test_option_below_an_element_that_is_no_dictionary(detector):
    with pytest.raises(UserError, match='--cfg-options'):
        load_config(detector, {'param_scheduler.0': 5})


def test_data_root_moves_datasets_and_evaluators(detector):
    cfg = load_config(detector)
    set_data_root(cfg, Path('elsewhere/tiny'))
    assert cfg.train_dataloader.dataset.data_root == 'elsewhere/tiny'
    assert cfg.val_dataloader.dataset.data_root == 'elsewhere/tiny'
    assert cfg.test_evaluator.ann_file == 'elsewhere/tiny/annotations/instances_val2017.json'
    assert 'data/coco' not in str([cfg.train_dataloader, cfg.val_dataloader, cfg.test_evaluator])


def test_data_root_moves_a_dataset_whatever_the_top_level_says(detector):
    cfg = load_config(detector, {'data_root': 'unused/'})
    set_data_root(cfg, Path('elsewhere'))
    assert cfg.train_dataloader.dataset.data_root == 'elsewhere'
    assert cfg.val_evaluator.ann_file == 'elsewhere/annotations/instances_val2017.json'
    with pytest.raises(UserError, match='--data-root'):
        set_data_root(Config(dict(train_dataloader=dict(dataset=dict(type='CocoDataset')))), Path('elsewhere'))


def test_data_root_moves_what_lies_below_the_old_one_only():
    evaluators = [dict(ann_file=f'data/{name}/val.json') for name in ('coco', 'coco_tiny')]
    dataset = dict(type='ConcatDataset', datasets=[dict(data_root='data/coco')])
    cfg = Config(dict(data_root='data/coco', val_dataloader=None, train_dataloader=dict(dataset=dataset)))
    cfg.val_evaluator = evaluators
    set_data_root(cfg, Path('mine'))
    assert cfg.train_dataloader.dataset.datasets[0].data_root == cfg.data_root == 'mine'
    assert [evaluator.ann_file for evaluator in cfg.val_evaluator] == ['mine/val.json', 'data/coco_tiny/val.json']


def test_pretrained(detector):
    cfg = load_config(detector)
    assert cfg.model.backbone.init_cfg.checkpoint == 'convnext_tiny.in1k'
    set_pretrained(cfg, 'mine.pth')
    assert cfg.model.backbone.init_cfg == dict(type='ConvNeXtPretrained', checkpoint='mine.pth')
    set_pretrained(cfg, 'none')
    assert cfg.model.backbone.init_cfg is None


def test_pretrained_keeps_what_is_about_the_backbone_and_says_what_it_drops(detector):
    cfg = load_config(detector)
    other = dict(type='TruncNormal', layer='Linear', std=0.1)
    loader = dict(type='Pretrained', checkpoint='old.pth', prefix='backbone.', adapt_stem='zero', final_norm=True)
    cfg.model.backbone.init_cfg = [loader, other]
    (note,) = set_pretrained(cfg, 'mine.pth')
    assert "prefix='backbone.'" in note
    assert 'old.pth' in note
    assert cfg.model.backbone.init_cfg == [
        other,
        dict(type='ConvNeXtPretrained', checkpoint='mine.pth', adapt_stem='zero', final_norm=True),
    ]
    assert set_pretrained(cfg, 'none') != []
    assert cfg.model.backbone.init_cfg == other


def test_task_is_told_by_the_scope(detector, segmentor):
    assert not is_segmentation(load_config(detector))
    assert is_segmentation(load_config(segmentor))
    with pytest.raises(UserError) as error:
        is_segmentation(Config(dict(default_scope='mmpretrain')))
    assert error.value.facts == dict(default_scope='mmpretrain')


def test_model_without_convnext_is_an_error():
    with pytest.raises(UserError, match='ConvNeXt'):
        find_backbone(Config(dict(model=dict(backbone=dict(type='ResNet')))).model)


@pytest.mark.parametrize('name', ['detector', 'segmentor'])
def test_models_build_with_another_arch(name, request):
    cfg = load_config(request.getfixturevalue(name), {'model.backbone.arch': 'atto'})
    init_default_scope(cfg.default_scope)
    MODELS.build(cfg.model)


@pytest.mark.parametrize(
    ('content', 'words'), [('# café'.encode('cp1252'), '0xe9'), (b'\xef\xbb\xbflr = 1', 'byte-order')]
)
def test_config_in_another_encoding_is_refused(tmp_path, content, words):
    """It was a UnicodeDecodeError with a traceback, and "is not Python"."""
    path = tmp_path / 'config.py'
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        load_config(path)
    assert error.value.facts == dict(config=str(path))


@pytest.mark.parametrize('key', ['train_cfg.val_interval', 'train_cfg.max_epochs', 'default_hooks.logger.interval'])
@pytest.mark.parametrize('value', [0, 1.5, '2'])
def test_interval_that_is_not_a_positive_number(detector, key, value):
    """``val_interval=0`` was a ZeroDivisionError after a whole epoch."""
    with pytest.raises(UserError) as error:
        load_config(detector, {key: value})
    assert error.value.facts == dict(key=key)


def test_config_that_is_a_folder(tmp_path):
    """The message asked whether the same name was meant."""
    (tmp_path / 'own.py').mkdir()
    with pytest.raises(UserError) as error:
        load_config(tmp_path / 'own.py')
    assert error.value.facts == dict(config=str(tmp_path / 'own.py'))
    assert 'mean' not in str(error.value)


@pytest.mark.parametrize(('name', 'text'), [('own.yaml', 'model: [1'), ('own.json', '{"model": ')])
def test_broken_yaml_and_json(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_config(path)
    assert error.value.facts == dict(config=str(path))


def test_checkpoint_in_the_place_of_the_config(tmp_path):
    for name, second in (('epoch_1.pth', True), ('notes.txt', False)):
        (tmp_path / name).write_bytes(b'PK\x03\x04')
        with pytest.raises(UserError) as error:
            load_config(tmp_path / name)
        assert error.value.facts == dict(config=str(tmp_path / name))
        assert ('second' in str(error.value)) == second


@pytest.mark.parametrize(('text', 'yolo'), [('train: images\nnames: [cat]\n', True), ('lr: 1\n', False)])
def test_list_of_yolo_data_in_the_place_of_the_config(tmp_path, text, yolo):
    (tmp_path / 'data.yaml').write_text(text)
    with pytest.raises(UserError) as error:
        load_config(tmp_path / 'data.yaml')
    assert ('YOLO' in str(error.value)) == yolo


@pytest.mark.parametrize('name', ['data.yaml', 'data.zip'])
def test_data_root_that_is_a_file(detector, tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(UserError) as error:
        set_data_root(load_config(detector), tmp_path / name)
    assert error.value.facts == dict(path=tmp_path / name)
    assert ('YOLO' in str(error.value)) == name.endswith('.yaml')
