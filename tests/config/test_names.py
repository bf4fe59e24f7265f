import inspect

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmconvnext.config.names import TOP_LEVEL, misspelt, unread_names
from mmconvnext.config.options import Options
from mmconvnext.config.reading import read_config
from mmconvnext.errors import UserError


@pytest.fixture
def notes(detector):
    """The notes on options for a config, of which a few lines may be the user's."""

    def notes(options, path=detector):
        cfg = read_config(path)
        return unread_names(cfg, Options(options, cfg))

    return notes


@pytest.fixture
def own(detector, tmp_path):
    def own(lines):
        path = tmp_path / 'own.py'
        path.write_text(f'_base_ = {detector!r}\n{lines}\n')
        return str(path)

    return own


def test_an_option_that_the_config_does_not_have_is_noted(notes):
    (note,) = notes({'optimizer.lr': 0.01, 'model.backbone.with_cp': True})
    assert 'optimizer' in note
    assert 'optim_wrapper' in note


@pytest.mark.parametrize(
    ('option', 'similar'),
    [
        ('optim_wrapper.optimzer.lr', 'optim_wrapper.optimizer'),
        ('model.test_cfg.rcnn.score_th', 'model.test_cfg.rcnn.score_thr'),
        ('model.test_cfg.rcn.score_thr', 'model.test_cfg.rcnn'),
        ('env_cfg.cudnn_benchmarks', 'env_cfg.cudnn_benchmark'),
    ],
)
def test_an_option_beside_a_similar_key_is_noted(notes, option, similar):
    (note,) = notes({option: 1})
    assert option in note
    assert note.endswith(similar)


@pytest.mark.parametrize(
    ('name', 'place'),
    [('max_epochs', 'train_cfg.max_epochs'), ('batch_size', 'train_dataloader.batch_size'), ('vis_backend', None)],
)
def test_an_option_without_the_names_before_it_says_where_that_key_is(notes, name, place):
    (note,) = notes({name: 2})
    assert name in note
    assert ('mean' in note) == bool(place)
    assert (place or '') in note


def test_an_option_that_sets_a_variable_of_the_config_is_noted(notes, own):
    """The file was read before, so nothing came of it."""
    path = own('epochs = 3\ntrain_cfg = dict(max_epochs=epochs)')
    (note,) = notes({'epochs': 5}, path)
    assert 'epochs' in note
    assert notes({'work_dir': 'x', 'load_from': 'x.pth'}, path) == []


def test_data_root_as_an_option_has_no_effect_and_the_note_says_what_has(notes):
    (note,) = notes({'data_root': 'elsewhere/'})
    assert 'data_root' in note
    assert '--data-root' in note


@pytest.mark.parametrize(
    'option',
    [
        {'model.backbone.with_cp': True},
        {'model.test_cfg.rcnn.score_thr': 0.1},
        {'param_scheduler.0.end': 7},
        {'model.backbone.arch': dict(depths=(1, 1, 1, 1), widths=(8, 8, 8, 8))},
        {'train_dataloader': dict(_delete_=True, batch_sizes=2)},
    ],
)
def test_options_that_are_as_they_should_be(notes, option):
    assert notes(option) == []


def test_a_misspelt_name_of_a_config_is_noted(detector, root):
    cfg = read_config(detector)
    cfg.modle = dict(backbone=dict(drop_path_rate=0))
    cfg.my_own_variable = 3
    assert misspelt(cfg) == {'modle': 'model'}
    for path in sorted((root / 'configs').glob('*/*_3x.py')):
        assert misspelt(read_config(path)) == {}


def test_names_of_mmdetection_2_in_a_config_are_noted(notes, own):
    found = notes({}, own("lr_config = dict(policy='step')\noptimizer = dict(type='SGD', lr=0.1)"))
    assert [note.split()[3].strip(',') for note in found] == ['optimizer', 'lr_config']


def test_variable_of_an_outdated_name_is_none_of_these(notes, own, tmp_path):
    """MMSegmentation's configs have such a variable, and those above them may not use it."""
    lines = "optimizer = dict(type='SGD', lr=0.1)\noptim_wrapper = dict(_delete_=True, type='OptimWrapper', optimizer="
    assert notes({}, own(f'{lines}optimizer)')) == []
    above = tmp_path / 'above.py'
    above.write_text("_base_ = 'own.py'\noptim_wrapper = dict(optimizer=dict(lr=0.2))\n")
    assert notes({}, str(above)) == []


def test_config_of_mmdetection_2_is_refused():
    cfg = Config(dict(model=dict(), data=dict(), optimizer=dict(), evaluation=dict()))
    with pytest.raises(UserError) as error:
        unread_names(cfg, Options({}, cfg))
    assert error.value.facts == dict(outdated=['data', 'optimizer', 'evaluation'])


def test_every_setting_of_mmengines_runner_is_known():
    assert set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'} <= set(TOP_LEVEL)
