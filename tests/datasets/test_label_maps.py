import numpy as np
import pytest
from mmengine.registry import DATASETS
from PIL import Image

MAP = 'annotations/training/1.png'
LOADERS = ('train_dataloader', 'val_dataloader')


@pytest.fixture
def repaint(own_masks):
    """Replaces the second training label map."""

    def run(labels, mode=None):
        Image.fromarray(labels).convert(mode).save(own_masks / MAP)

    return run


def labels(value, dtype=np.uint8):
    out = np.zeros((64, 96), dtype)
    out[5:9, 5:9] = value
    return out


def test_sound_data_passes_and_is_what_the_dataset_reads(own_segmentation, check):
    check(own_segmentation)
    with DATASETS.switch_scope_and_registry('mmseg') as registry:
        dataset = registry.build(own_segmentation.val_dataloader.dataset)
    assert np.unique(dataset[0]['data_samples'].gt_sem_seg.data).tolist() == [0, 1]


@pytest.mark.parametrize(
    ('values', 'reduces', 'fine'),
    [
        ((0, 1, 255), False, True),
        ((0, 1, 2), False, False),
        ((0, 1, 2, 255), True, True),
        ((0, 3), True, False),
        ((0, 254), True, False),
    ],
)
def test_values_that_are_no_class(repaint, own_segmentation, check, complaint, values, reduces, fine):
    for loader in LOADERS:
        own_segmentation[loader].dataset.reduce_zero_label = reduces
    painted = np.resize(np.array(values, np.uint8), (64, 96))
    repaint(painted)
    if fine:
        check(own_segmentation)
    else:
        expected = 'be 0 (no class), 1 to 2' if reduces else 'be 0 to 1'
        complaint(own_segmentation, MAP, f'has the values {values[-1]},', '2 classes', expected, 'a sample')


def test_sixteen_bits(repaint, own_segmentation, complaint):
    repaint(labels(256, np.uint16))  # which 8 bits would make the first class
    complaint(own_segmentation, MAP, 'has the values 256,')


def test_palette_and_single_bit_are_fine(repaint, own_segmentation, own_masks, check):
    image = Image.fromarray(labels(1)).convert('P')
    image.putdata(labels(1).ravel().tolist())
    image.save(own_masks / MAP)
    check(own_segmentation)
    Image.fromarray(labels(1).astype(bool)).save(own_masks / MAP)
    check(own_segmentation)


@pytest.mark.parametrize(('mode', 'channels'), [('RGB', 3), ('RGBA', 4), ('LA', 2)])
def test_colour_map(repaint, own_segmentation, complaint, mode, channels):
    repaint(labels(200), mode)
    complaint(own_segmentation, MAP, f'has {channels} channels', 'Colour maps')


def test_unreadable_map(own_masks, own_segmentation, complaint):
    (own_masks / MAP).write_text('no picture')
    complaint(own_segmentation, MAP, 'cannot be read')


def test_image_without_a_map(own_masks, own_segmentation, complaint):
    (own_masks / MAP).unlink()
    complaint(own_segmentation, '1 of 2 images', own_masks / MAP, 'holds 0.png.', "seg_map_suffix, now '.png'")


def test_empty_label_folder(own_masks, own_segmentation, complaint):
    for path in (own_masks / 'annotations/validation').iterdir():
        path.unlink()
    complaint(own_segmentation, '2 of 2 images', 'annotations/validation is empty')


def test_images_of_another_suffix(own_segmentation, complaint):
    own_segmentation.train_dataloader.dataset.img_suffix = '.jpg'
    complaint(own_segmentation, 'has no .jpg images', '0.png, 1.png', 'train_dataloader.dataset.img_suffix')


def test_empty_image_folder(own_masks, own_segmentation, complaint):
    for path in (own_masks / 'images/training').iterdir():
        path.unlink()
    complaint(own_segmentation, own_masks / 'images/training', 'it is empty')


def test_list_of_names(own_masks, own_segmentation, check, complaint):
    own_segmentation.train_dataloader.dataset.ann_file = 'train.txt'
    complaint(own_segmentation, own_masks / 'train.txt', '(train_dataloader.dataset.ann_file)')
    (own_masks / 'train.txt').write_text('0\n1\n')
    check(own_segmentation)
    (own_masks / 'train.txt').write_text('0.png\n1.png\n')
    complaint(own_segmentation, own_masks / 'train.txt', '2 of them', '0.png.png', 'without the suffix')


def test_no_label_folder_in_the_config(own_segmentation, complaint):
    own_segmentation.train_dataloader.dataset.data_prefix.pop('seg_map_path')
    complaint(own_segmentation, 'train_dataloader.dataset.data_prefix has no seg_map_path')


def test_pipeline_and_dataset_disagree_about_the_label_0(own_segmentation, complaint):
    own_segmentation.val_dataloader.dataset.pipeline[2].reduce_zero_label = True
    complaint(own_segmentation, 'val_dataloader.dataset.reduce_zero_label is False', 'reduce_zero_label=True')


def test_no_classes(own_segmentation, complaint):
    own_segmentation.train_dataloader.dataset.metainfo = {}
    complaint(own_segmentation, 'train_dataloader.dataset has no classes', 'metainfo=dict(classes=')


def test_own_classes_with_ade20ks_dataset(own_segmentation, complaint):
    own_segmentation.train_dataloader.dataset.type = 'ADE20KDataset'
    message = complaint(own_segmentation, 'train_dataloader.dataset cannot be built', "type='BaseSegDataset'")
    assert 'escalator' not in message  # the list of 150


def test_some_classes_of_a_fixed_list(own_segmentation, repaint, check, complaint):
    # The label map of such a dataset has the numbers of the whole list
    for loader in LOADERS:
        dataset = own_segmentation[loader].dataset
        dataset.update(type='ADE20KDataset', metainfo=dict(classes=('wall', 'sky')), reduce_zero_label=True)
    repaint(labels(150))
    check(own_segmentation)
    repaint(labels(151))
    complaint(own_segmentation, 'has the values 151,', '1 to 150')
