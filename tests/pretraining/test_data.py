"""Images without labels: which are found, what becomes of broken ones, and how they are cropped."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from PIL import Image

from mmconvnext.config.prepare import prepare
from mmconvnext.datasets.errors import DataError
from mmconvnext.errors import UserError
from mmconvnext.pretraining import CenterCropAndResize, RandomCropAndResize, UnlabelledImages
from mmconvnext.runner.loading import name_unreadable_files
from mmconvnext.runner.run import build_trainer

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='CenterCropAndResize', size=(64, 96)), dict(type='PackImages')]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images in a tree, of which two cannot be read, and a file that is none."""
    rng = np.random.default_rng(0)
    for name in ('b/2.PNG', 'a/1.jpg', 'b/c/3.jpeg', '0.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (80, 100, 3), np.uint8)).save(tmp_path / name)
    content = (tmp_path / 'a/1.jpg').read_bytes()
    (tmp_path / 'a/1.jpg').write_bytes(content[: len(content) // 2])
    (tmp_path / 'b/2.PNG').write_bytes(b'')
    (tmp_path / 'notes.txt').write_text('no image')
    return tmp_path


def dataset(**options: object) -> UnlabelledImages:
    """As the runner builds it, with readers that name a damaged file."""
    cfg = name_unreadable_files(ConfigDict(dataset=dict(pipeline=PIPELINE, **options)))
    return UnlabelledImages(**cfg['dataset'])


def test_all_images_of_a_tree_are_found(folder: Path) -> None:
    images = dataset(data_root=str(folder))
    names = [Path(images.get_data_info(i)['img_path']).relative_to(folder).as_posix() for i in range(len(images))]
    assert names == ['0.png', 'a/1.jpg', 'b/2.PNG', 'b/c/3.jpeg']


def test_a_list_names_the_images_in_its_order(folder: Path) -> None:
    (folder / 'list.txt').write_text('b/c/3.jpeg\n\n0.png \n')
    images = dataset(data_root=str(folder), ann_file='list.txt')
    assert [Path(images.get_data_info(i)['img_path']).name for i in range(len(images))] == ['3.jpeg', '0.png']


def test_the_next_image_takes_the_place_of_broken_ones_and_they_are_named(folder: Path) -> None:
    images = dataset(data_root=str(folder))
    sample = images[1]
    assert Path(sample['data_samples'].img_path).name == '3.jpeg'
    assert [Path(path).name for path in sample['data_samples'].skipped] == ['1.jpg', '2.PNG']
    assert images[0]['data_samples'].skipped == {}
    batch = pseudo_collate([images[i] for i in range(4)])
    assert torch.stack(batch['inputs']).shape == (4, 3, 64, 96)


def test_a_folder_of_broken_images_is_refused(folder: Path) -> None:
    (folder / 'b/c/3.jpeg').write_bytes(b'GIF')
    (folder / '0.png').write_bytes(b'')
    with pytest.raises(DataError, match='4'):
        dataset(data_root=str(folder))[2]


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        dataset(data_root=str(tmp_path))
    assert caught.value.facts['path'].rstrip('/') == str(tmp_path)


def test_center_crop_equals_pil_to_rounding() -> None:
    image = np.random.default_rng(0).integers(0, 255, (100, 200, 3), np.uint8)
    cropped = CenterCropAndResize(size=(64, 96)).transform(dict(img=image))['img']
    # 100 / 64 is the smaller of the two scales: 100 rows and 150 columns are left
    expected = Image.fromarray(image[:, 25:175]).resize((96, 64), Image.Resampling.BICUBIC)
    assert np.abs(cropped.astype(int) - np.asarray(expected).astype(int)).max() <= 1


def test_random_crops_have_the_shares_and_proportions_that_were_asked_for() -> None:
    crop = RandomCropAndResize(size=32, scale=(0.2, 1.0))
    image = torch.zeros(3, 200, 300)
    boxes = torch.tensor([crop.box(image) for _ in range(500)])
    shares = boxes[:, 2] * boxes[:, 3] / (200 * 300)
    ratios = boxes[:, 3] / boxes[:, 2]
    assert 0.19 <= shares.min() < 0.25
    assert 0.8 < shares.max() <= 8 / 9 + 0.01  # 4:3 of an image of 3:2
    assert ratios.min() >= 0.74
    assert ratios.max() <= 1.35
    assert (boxes[:, :2] + boxes[:, 2:] <= torch.tensor([200, 300])).all()


@pytest.mark.parametrize(
    'content', [b'b/c/3.jpeg\n', 'b\\c\\3.jpeg\r\n'.encode('utf-16'), '\ufeffb\\c\\3.jpeg\r\n'.encode()]
)
def test_lists_that_windows_writes_are_read(folder: Path, content: bytes) -> None:
    (folder / 'list.txt').write_bytes(content)
    (image,) = [dataset(data_root=str(folder), ann_file='list.txt').get_data_info(0)]
    assert Path(image['img_path']) == folder / 'b/c/3.jpeg'


def test_a_list_in_another_encoding_is_refused(folder: Path) -> None:
    (folder / 'list.txt').write_bytes('Straße.png'.encode('latin-1'))
    with pytest.raises(DataError) as caught:
        dataset(data_root=str(folder), ann_file='list.txt')
    assert caught.value.facts['path'] == str(folder / 'list.txt')


def test_fewer_images_than_a_batch_are_refused_before_the_training(folder: Path, root: Path) -> None:
    """MMEngine fails with an assertion about the length of an epoch, which names neither."""
    run = prepare(
        str(root / 'configs/pretraining/fcmae_convnextv2_atto_1600e.py'),
        work_dir=str(folder / 'run'),
        cfg_options={
            'train_dataloader.dataset.data_root': str(folder),
            'train_dataloader.dataset.data_prefix': dict(img_path=''),
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'model.backbone.arch': dict(depths=(1, 1, 1, 1), widths=(4, 4, 4, 4)),
        },
    )
    run.cfg.val_dataloader = run.cfg.val_cfg = run.cfg.val_evaluator = None
    with pytest.raises(UserError) as caught:
        build_trainer(run)
    assert (caught.value.facts['images'], caught.value.facts['batch_size']) == (4, 64)
