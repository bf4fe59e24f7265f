import pytest
from mmengine.config import Config

from mmconvnext.datasets.checks import MissingDataError, check_paths
from mmconvnext.engine.config import set_data_root

LOADERS = ('train_dataloader', 'val_dataloader')


def test_missing_data_says_where_what_and_how_to_do_without(root, tmp_path):
    cfg = Config.fromfile(root / 'configs/detection/mask_rcnn_convnext_t_3x.py')
    set_data_root(cfg, tmp_path)
    with pytest.raises(MissingDataError) as error:
        check_paths(cfg, LOADERS, segmentation=False)
    message = str(error.value)
    for expected in (
        str(tmp_path / 'train2017'),
        str(tmp_path / 'annotations/instances_val2017.json'),
        'train2017/*.jpg',
        '--mini',
    ):
        assert expected in message


def test_only_what_is_missing_is_named(root, tmp_path):
    cfg = Config.fromfile(root / 'configs/segmentation/upernet_convnext_t_160k.py')
    set_data_root(cfg, tmp_path)
    for folder in ('images/training', 'images/validation', 'annotations/training', 'annotations/validation'):
        (tmp_path / folder).mkdir(parents=True)
    check_paths(cfg, LOADERS, segmentation=True)
    (tmp_path / 'annotations/validation').rmdir()
    with pytest.raises(MissingDataError) as error:
        check_paths(cfg, LOADERS, segmentation=True)
    assert str(tmp_path / 'annotations/validation') in str(error.value)
    assert str(tmp_path / 'images/training') not in str(error.value)
