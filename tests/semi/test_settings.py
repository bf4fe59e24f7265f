import pytest
from mmengine.config import Config

from mmconvnext.errors import UserError
from mmconvnext.semi.pseudo_labels import Selection
from mmconvnext.semi.settings import settings_of
from tests.semi.conftest import CONFIGS

STUDENT = CONFIGS / 'noisy_student_mask_rcnn_convnext_t_10p.py'


def test_the_configs_settings():
    settings = settings_of(Config.fromfile(STUDENT))
    assert settings.teacher.resolve() == CONFIGS / 'mask_rcnn_convnext_t_10p.py'
    assert settings.selection == Selection(0.7, None)
    assert (settings.rounds, settings.batch_ratio, settings.oversample_thr) == (2, (1, 1), 0.01)


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('rounds', 0),
        ('rounds', 1.5),
        ('rounds', True),
        ('score_thr', 1.1),
        ('score_thr', '0.7'),
        ('score_thr', dict(cat=0.5, dog=-1)),
        ('images_per_class', 0),
        ('oversample_thr', -0.1),
        ('batch_ratio', (1, 0)),
        ('batch_ratio', (1, 1, 1)),
        ('batch_ratio', 1),
        ('unlabelled', 'images/'),
        ('unlabelled', dict(ann_file='a.json')),
        ('teacher', None),
        ('threshold', 0.7),
    ],
)
def test_a_wrong_setting_is_named(key, value):
    cfg = Config.fromfile(STUDENT)
    cfg.noisy_student[key] = value
    with pytest.raises(UserError) as caught:
        settings_of(cfg)
    assert caught.value.facts['key'] == f'noisy_student.{key}'


@pytest.mark.parametrize('key', ['teacher', 'unlabelled'])
def test_a_missing_setting_is_named(key):
    cfg = Config.fromfile(STUDENT)
    del cfg.noisy_student[key]
    with pytest.raises(UserError) as caught:
        settings_of(cfg)
    assert caught.value.facts['key'] == f'noisy_student.{key}'


def test_another_config_has_no_settings():
    with pytest.raises(UserError) as caught:
        settings_of(Config.fromfile(CONFIGS / 'mask_rcnn_convnext_t_10p.py'))
    assert caught.value.facts['key'] == 'noisy_student'
