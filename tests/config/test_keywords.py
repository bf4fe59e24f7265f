import pytest
from mmengine.config import Config
from mmengine.registry import MODELS
from mmseg.models.decode_heads import UPerHead

from mmconvnext.config.keywords import arguments, check_keywords, name_unknown_keywords, unknown_keywords
from mmconvnext.config.prepare import prepare
from mmconvnext.config.reading import read_config
from mmconvnext.errors import UserError, explain_refusals


@MODELS.register_module()
class Picky:
    """What takes no arguments."""

    def __init__(self):
        pass


def unknown(path, options):
    cfg = read_config(path)
    cfg.merge_from_dict(options)
    return cfg, [(one.key, one.near) for one in unknown_keywords(cfg)]


@pytest.mark.parametrize(
    ('key', 'near'),
    [
        ('train_dataloader.batchsize', 'batch_size'),
        ('train_dataloader.sampler.shufle', 'shuffle'),
        ('train_cfg.max_epoch', 'max_epochs'),
        ('val_cfg.fp_16', 'fp16'),
        ('optim_wrapper.optimzer', 'optimizer'),
        ('optim_wrapper.optimizer.weight_decy', 'weight_decay'),
        ('optim_wrapper.clip_gard', 'clip_grad'),
        ('default_hooks.checkpoint.max_keep_ckpt', 'max_keep_ckpts'),
        ('param_scheduler.0.start_facto', 'start_factor'),
        ('randomness.sed', 'seed'),
    ],
)
def test_what_mmengine_would_refuse_is_refused_before(detector, key, near):
    """It was a TypeError of a class, some of them after the data had been read."""
    cfg, found = unknown(detector, {key: {} if key == 'optim_wrapper.optimzer' else 1})
    assert found == [(key, near)]
    with pytest.raises(UserError) as error:
        check_keywords(cfg)
    assert [one.key for one in error.value.facts['unknown']] == [key]


@pytest.mark.parametrize(
    ('key', 'near'),
    [
        ('model.backbone.dropp_path_rate', 'drop_path_rate'),
        ('model.neck.num_out', 'num_outs'),
        ('model.roi_head.bbox_head.num_clases', 'num_classes'),
        ('train_dataloader.dataset.ann_fil', 'ann_file'),
        ('val_evaluator.metrc', 'metric'),
    ],
)
def test_what_others_may_hand_on_is_named_if_it_fails(detector, key, near):
    cfg, found = unknown(detector, {key: 1})
    assert found == [(key, near)]
    check_keywords(cfg)
    name = key.rpartition('.')[2]
    with pytest.raises(UserError) as error, name_unknown_keywords(cfg), explain_refusals('it cannot be built'):
        MODELS.build({'type': 'Picky', name: 1})
    assert [one.key for one in error.value.facts['unknown']] == [key]


def test_only_what_failed_is_named(detector):
    cfg, _ = unknown(detector, {'model.neck.num_out': 1})
    for other in (dict(type='Picky', other=1), dict(type='num_out')):
        with pytest.raises(UserError) as raised, name_unknown_keywords(cfg), explain_refusals('it cannot be built'):
            MODELS.build(other)
        assert 'unknown' not in raised.value.facts


def test_configs_of_this_package_have_nothing_unknown(root):
    for path in sorted((root / 'configs').glob('[!_]*/*.py')):
        assert unknown_keywords(read_config(str(path))) == []


def test_arguments_are_those_that_a_class_hands_on():
    assert {'pool_scales', 'num_classes'} <= arguments(UPerHead)
    assert arguments(dict) is None
    assert arguments(lambda a, b=1: None) == {'a', 'b'}
    assert arguments(lambda **others: None) is None


def test_misspelt_argument_of_the_backbone_names_the_right_one(detector, tmp_path):
    with pytest.raises(UserError) as error:
        prepare(detector, cfg_options={'model.backbone.dropp_path_rate': 0.1}, work_dir=str(tmp_path))
    (found,) = error.value.facts['unknown']
    assert (found.key, found.near) == ('model.backbone.dropp_path_rate', 'drop_path_rate')


def test_unregistered_types_are_passed_over():
    assert unknown_keywords(Config(dict(model=dict(type='Nowhere', x=1), default_scope='mmdet'))) == []
