import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from PIL import Image

from mmconvnext.runner.loading import FileError, NamedReader, check_labels, name_unreadable_files
from mmconvnext.runner.quiet_runner import QuietRunner


@pytest.fixture
def path(tmp_path):
    """A sound JPEG, with detail enough that a cut falls within its pixels."""
    path = tmp_path / 'dog.jpg'
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)).save(path)
    return path


def reader(**settings):
    return NamedReader(ConfigDict(type='LoadImageFromFile', **settings), 'img_path')


DAMAGES = {
    'empty': lambda path: path.write_bytes(b''),
    'cut': lambda path: path.write_bytes(path.read_bytes()[:1200]),
    'cut late': lambda path: path.write_bytes(path.read_bytes()[:-40]),
    'text': lambda path: path.write_text('no picture'),
    'gone': lambda path: path.unlink(),
    'gif': lambda path: Image.open(path).save(path, format='ICO', sizes=[(16, 16)]),
}


def test_a_sound_image_is_read_as_before(path):
    read = reader()({'img_path': str(path)})
    expected = np.asarray(Image.open(path))[..., ::-1]
    assert read['img'].shape == (64, 96, 3)
    assert np.abs(read['img'].astype(int) - expected).mean() < 2  # two decoders of JPEG


@pytest.mark.parametrize('damage', DAMAGES.values(), ids=DAMAGES)
def test_a_file_that_cannot_be_read_is_named(path, damage):
    damage(path)
    with pytest.raises(FileError) as error:
        reader()({'img_path': str(path)})
    assert error.value.facts['path'] == str(path)
    assert str(path) in str(error.value)


def test_whoever_asked_to_pass_over_images_still_does(path):
    path.write_bytes(b'')
    assert reader(ignore_empty=True)({'img_path': str(path)}) is None


def test_errors_of_a_config_are_not_taken_for_a_damaged_file(path):
    with pytest.raises(ValueError, match='not supported') as error:
        reader(imdecode_backend='none')({'img_path': str(path)})
    assert not isinstance(error.value, FileError)


def test_label_maps_are_named_too(tmp_path):
    path = tmp_path / 'map.png'
    Image.fromarray(np.random.default_rng(0).integers(0, 9, (64, 96), np.uint8)).save(path)
    load = NamedReader(ConfigDict(type='mmseg.LoadAnnotations'), 'seg_map_path')
    sample = dict(seg_map_path=str(path), reduce_zero_label=False, seg_fields=[])
    assert load(dict(sample))['gt_seg_map'].shape == (64, 96)
    with pytest.raises(AssertionError):  # pipeline and dataset disagree
        load(dict(sample, reduce_zero_label=True))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(FileError) as error:
        load(dict(sample))
    assert error.value.facts['path'] == str(path)


class Failing(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise FileError('dog.jpg cannot be read: it is no image.', path='dog.jpg')


def test_the_sentence_comes_out_of_a_worker_process_without_its_traceback():
    loader = torch.utils.data.DataLoader(Failing(), num_workers=1)
    with pytest.raises(FileError) as error:
        next(iter(loader))
    assert str(error.value) == 'dog.jpg cannot be read: it is no image.'


def test_a_runner_reads_by_name_and_leaves_the_config_alone(tmp_path):
    path = tmp_path / 'a.png'
    Image.new('L', (96, 64)).save(path)
    pipeline = [dict(type=name) for name in ('LoadImageFromFile', 'LoadAnnotations', 'PackSegInputs')]
    loader = ConfigDict(
        dataset=dict(
            type='BaseSegDataset',
            metainfo=dict(classes=['road']),
            data_prefix=dict(img_path=str(tmp_path), seg_map_path=str(tmp_path)),
            img_suffix='.png',
            pipeline=pipeline,
        ),
        batch_size=1,
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    before = loader.to_dict()
    init_default_scope('mmseg')
    built = QuietRunner.build_dataloader(loader)
    assert loader.to_dict() == before
    kinds = [type(transform).__name__ for transform in built.dataset.pipeline.transforms]
    assert kinds.count('NamedReader') == 2
    assert next(iter(built))['inputs'][0].shape[0] == 3
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(FileError, match=r'a\.png'):
        next(iter(built))


def test_readers_in_lists_of_lists_are_found():
    nested = dict(type='TestTimeAug', transforms=[[dict(type='LoadAnnotations')], [dict(type='Pack')]])
    named = name_unreadable_files(ConfigDict(dataset=dict(dataset=dict(pipeline=[nested]))))
    (first,), (second,) = named.dataset.dataset.pipeline[0].transforms
    assert (first.type, first.key, second.type) == (NamedReader, 'seg_map_path', 'Pack')


@pytest.fixture
def street(tmp_path):
    """A dataset of one image of two classes, and a function that paints its label map."""

    def build(*transforms, **settings):
        pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), *transforms]
        loader = ConfigDict(
            dataset=dict(
                type='RepeatDataset',
                times=1,
                dataset=dict(
                    type='BaseSegDataset',
                    metainfo=dict(classes=['background', 'road']),
                    data_prefix=dict(img_path=str(tmp_path), seg_map_path=str(tmp_path / 'maps')),
                    img_suffix='.png',
                    pipeline=pipeline,
                )
                | settings,
            ),
            batch_size=1,
            sampler=dict(type='DefaultSampler', shuffle=False),
        )
        init_default_scope('mmseg')
        dataset = QuietRunner.build_dataloader(loader).dataset
        check_labels(dataset, frozenset({254}))
        return dataset

    def paint(*values):
        (tmp_path / 'maps').mkdir(exist_ok=True)
        Image.new('L', (96, 64)).save(tmp_path / 'a.png')
        Image.fromarray(np.resize(np.array(values, np.uint8), (64, 96))).save(tmp_path / 'maps/a.png')

    return build, paint


@pytest.mark.parametrize(
    ('values', 'reduces', 'unknown'),
    [
        ((0, 1, 255), False, []),
        ((0, 1, 254), False, []),
        ((0, 2, 3, 255), False, [2, 3]),
        ((0, 1, 2, 255), True, []),
        ((0, 1, 3), True, [3]),
    ],
)
def test_a_label_that_is_no_class_is_named_with_its_file(street, tmp_path, values, reduces, unknown):
    """In training it was an IndexError, Target 3 is out of bounds; in validation nothing was said."""
    build, paint = street
    paint(*values)
    dataset = build(reduce_zero_label=reduces)
    if not unknown:
        assert dataset[0]['gt_seg_map'].shape == (64, 96)
        return
    with pytest.raises(FileError) as error:
        dataset[0]
    assert error.value.facts == dict(path=str(tmp_path / 'maps/a.png'), labels=unknown)


def test_labels_beyond_a_fixed_list_of_which_some_classes_are_used(street):
    build, paint = street
    options = dict(type='ADE20KDataset', metainfo=dict(classes=('wall', 'sky')), reduce_zero_label=True)
    paint(0, 1, 2, 3, 150)
    assert np.unique(build(**options)[0]['gt_seg_map']).tolist() == [0, 1, 255]
    paint(0, 1, 151)
    with pytest.raises(FileError, match='1 to 150') as error:
        build(**options)[0]
    assert error.value.facts['labels'] == [151]


def test_labels_that_a_transform_of_the_user_may_change_are_left_alone(street):
    build, paint = street
    paint(0, 7)
    with pytest.raises(FileError):
        build()[0]
    assert build(lambda results: results)[0]['gt_seg_map'].max() == 7


def test_readers_within_other_transforms_check_labels(street):
    build, paint = street
    paint(0, 7)
    within = dict(type='RandomApply', transforms=[dict(type='LoadAnnotations')], prob=1.0)
    with pytest.raises(FileError):
        build(pipeline=[dict(type='LoadImageFromFile'), within])[0]
