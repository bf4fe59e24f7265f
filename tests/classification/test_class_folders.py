"""Folders of classes: their numbers, and what is said of folders that are none."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine.config import Config, ConfigDict

from mmconvnext.classification import ClassFolders
from mmconvnext.config.prepare import prepare, prepare_test, prepare_training
from mmconvnext.datasets.errors import DataError
from mmconvnext.runner.loading import name_unreadable_files
from tests.classification.conftest import CLASSES
from tests.conftest import ROOT

PIPELINE = [
    dict(type='LoadPILImage'),
    dict(type='TimmTransform', input_size=(64, 96)),
    dict(type='PackImageAndClass'),
]
RECIPE = str(ROOT / 'configs/classification/convnext_t_in1k_300e.py')


def dataset(folder: Path, **options: object) -> ClassFolders:
    """As the runner builds it, with readers that name a damaged file."""
    cfg = name_unreadable_files(ConfigDict(dataset=dict(pipeline=PIPELINE, data_root=str(folder), **options)))
    return ClassFolders(**cfg['dataset'])


def test_numbers_are_the_places_of_the_sorted_names(tmp_path: Path, write_folders: Callable) -> None:
    write_folders(tmp_path, ('n02', 'n10', 'n01'), images=3)
    (tmp_path / '.ipynb_checkpoints').mkdir()  # would be number 0
    (tmp_path / 'n01/notes.txt').write_text('no image')
    images = dataset(tmp_path)
    assert images.metainfo['classes'] == ('n01', 'n02', 'n10')
    found = [(Path(info['img_path']).parent.name, info['gt_label']) for info in map(images.get_data_info, range(9))]
    assert found == [*[('n01', 0)] * 3, *[('n02', 1)] * 3, *[('n10', 2)] * 3]
    sample = images[4]
    assert sample['inputs'].shape == (3, 64, 96)
    assert sample['data_samples'].gt_label == 1
    assert sample['data_samples'].skipped == {}


def test_given_classes_decide_the_numbers_also_of_a_part_of_them(tmp_path: Path, write_folders: Callable) -> None:
    write_folders(tmp_path / 'val', ('fox', 'bee'), images=1)
    (tmp_path / 'classes.txt').write_text('\n'.join(CLASSES))
    for classes in (CLASSES, str(tmp_path / 'classes.txt')):
        images = dataset(tmp_path / 'val', metainfo=dict(classes=classes))
        assert tuple(images.metainfo['classes']) == CLASSES
        assert [images.get_data_info(i)['gt_label'] for i in range(2)] == [1, 5]
    with pytest.raises(DataError) as caught:
        dataset(tmp_path / 'val', metainfo=dict(classes=('ant', 'bee')))
    assert caught.value.facts['unknown'] == ['fox']


def test_images_without_folders_are_refused_with_what_sorts_them(tmp_path: Path, write_folders: Callable) -> None:
    write_folders(tmp_path, ('ant',), images=3)
    with pytest.raises(DataError, match=r'torchvision\.datasets\.ImageNet') as caught:
        dataset(tmp_path / 'ant')
    assert (caught.value.facts['path'].rstrip('/'), caught.value.facts['images']) == (str(tmp_path / 'ant'), 3)


def test_empty_folders_are_refused(tmp_path: Path, write_folders: Callable) -> None:
    write_folders(tmp_path, ('ant', 'bee'), images=1)
    (tmp_path / 'bee/0.JPEG').unlink()
    with pytest.raises(DataError) as caught:
        dataset(tmp_path)
    assert caught.value.facts['empty'] == ['bee']
    (tmp_path / 'ant/0.JPEG').unlink()
    for name in ('ant', 'bee'):
        (tmp_path / name).rmdir()
    with pytest.raises(DataError) as caught:
        dataset(tmp_path)
    assert caught.value.facts['path'].rstrip('/') == str(tmp_path)


def test_a_broken_image_is_named_and_the_next_one_comes_with_its_own_class(
    tmp_path: Path, write_folders: Callable
) -> None:
    write_folders(tmp_path, ('ant', 'bee'), images=1)
    broken = tmp_path / 'ant/0.JPEG'
    broken.write_bytes(broken.read_bytes()[:300])
    sample = dataset(tmp_path)[0]['data_samples']
    assert [*sample.skipped] == [str(broken)]
    assert sample.gt_label == 1


def training(folder: Path, **options: object) -> None:
    run = prepare(RECIPE, data_root=str(folder), work_dir=str(folder / 'run'), cfg_options=options)
    prepare_training(run, pretrained='none')


def test_a_missing_folder_is_told_with_the_layout(tmp_path: Path, write_folders: Callable) -> None:
    write_folders(tmp_path / 'train')
    with pytest.raises(DataError, match='n01440764') as caught:
        training(tmp_path)
    assert str(tmp_path / 'val') in str(caught.value)


def test_another_number_of_classes_is_a_sentence_with_the_option(tmp_path: Path, write_folders: Callable) -> None:
    for split in ('train', 'val'):
        write_folders(tmp_path / split)
    with pytest.raises(DataError, match=r'--cfg-options model\.backbone\.num_classes=7'):
        training(tmp_path)
    training(tmp_path, **{'model.backbone.num_classes': 7})


def test_a_validation_without_one_of_the_classes_is_refused(tmp_path: Path, write_folders: Callable) -> None:
    """Its numbers would be shifted, silently."""
    write_folders(tmp_path / 'train')
    write_folders(tmp_path / 'val', CLASSES[1:])
    with pytest.raises(DataError, match='6'):
        training(tmp_path, **{'model.backbone.num_classes': 7})


def test_a_flat_validation_ends_before_anything_is_built(tmp_path: Path, write_folders: Callable) -> None:
    write_folders(tmp_path, ('val',))
    run = prepare(RECIPE, data_root=str(tmp_path), work_dir=str(tmp_path / 'run'))
    with pytest.raises(DataError) as caught:
        prepare_test(run, 'convnext_tiny.in1k_ema')
    assert caught.value.facts['images'] == 2


def test_imagenet_22k_has_nothing_to_evaluate() -> None:
    cfg = Config.fromfile(ROOT / 'configs/classification/convnextv2_n_fcmae_ft_in22k_90e.py')
    assert [cfg[name] for name in ('val_dataloader', 'val_cfg', 'val_evaluator', 'test_dataloader')] == [None] * 4
