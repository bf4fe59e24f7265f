import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from PIL import Image

from mmconvnext.runner.loading import FileError, NamedReader, name_unreadable_files
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
