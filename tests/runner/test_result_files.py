from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from mmconvnext.runner.result_files import FinishedFileHook, LabelMapsHook, ResultNames


@pytest.mark.parametrize(
    ('paths', 'names'),
    [
        (['d/a.png', 'd/b.png'], ['a', 'b']),
        (['d/cam0/1.jpg', 'd/cam1/1.jpg', 'd/2.jpg'], ['cam0/1', 'cam1/1', '2']),
        (['d/a.png', 'd/a.jpg', 'd/b.jpg'], ['a.png', 'a.jpg', 'b']),
        (['d/x/a.png'], ['a']),
        (['d/x/a.png', 'd/x/a.png'], ['a', 'a']),
        (['/v/1/x/a.tar.png', '/v/2/x/a.tar.png'], ['1/x/a.tar', '2/x/a.tar']),
    ],
)
def test_every_image_has_a_name_of_its_own(paths, names):
    found = ResultNames(paths)
    assert [found.of(path) for path in paths] == names


@pytest.mark.parametrize(('reduced', 'classes'), [(False, 2), (True, 2), (False, 300)])
def test_label_maps_of_the_same_name_are_all_written(tmp_path, reduced, classes):
    paths = [str(tmp_path / f'seq{i}/frame.png') for i in range(3)]

    class Dataset:
        def __len__(self):
            return len(paths)

        def get_data_info(self, index):
            return dict(img_path=paths[index])

    hook = LabelMapsHook(str(tmp_path / 'maps'))
    hook.before_test(SimpleNamespace(test_dataloader=SimpleNamespace(dataset=Dataset())))
    labels = [torch.randint(classes, (1, 4, 6)) for _ in paths]
    for path, label in zip(paths, labels):
        label[0, 0, 0] = classes - 1
        sample = SegDataSample(metainfo=dict(img_path=path, reduce_zero_label=reduced))
        sample.pred_sem_seg = PixelData(data=label)
        hook.after_test_iter(None, 0, outputs=[sample])
    for i, label in enumerate(labels):
        written = np.asarray(Image.open(tmp_path / f'maps/seq{i}/frame.png'))
        assert (written == label[0].numpy() + reduced).all()


def test_a_file_of_results_is_replaced_only_when_the_new_one_is_whole(tmp_path):
    unfinished, finished = tmp_path / 'x.unfinished.pkl', tmp_path / 'x.pkl'
    finished.write_text('old')
    hook = FinishedFileHook(str(unfinished), str(finished))
    unfinished.write_text('new')
    assert finished.read_text() == 'old'
    hook.after_test(None)
    assert finished.read_text() == 'new'
    assert not unfinished.exists()
