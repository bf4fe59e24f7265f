import pytest

from mmconvnext.config.prepare import load_config
from mmconvnext.errors import UserError

CONFIG = 'configs/semi/soft_teacher_faster_rcnn_convnext_t_10p.py'


def test_the_samplers_batches_are_the_loaders(root):
    loader = load_config(root / CONFIG, {'train_dataloader.batch_size': 10}).train_dataloader
    assert (loader.batch_size, loader.sampler.batch_size) == (10, 10)


def test_other_samplers_stay(root):
    loader = load_config(
        root / 'configs/detection/faster_rcnn_convnext_t_3x.py', {'train_dataloader.batch_size': 10}
    ).train_dataloader
    assert 'batch_size' not in loader.sampler


def test_two_sizes_are_refused(root):
    with pytest.raises(UserError) as error:
        load_config(root / CONFIG, {'train_dataloader.sampler.batch_size': 4})
    assert error.value.facts['key'] == 'train_dataloader.sampler.batch_size'
