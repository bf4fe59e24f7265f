import json
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, METRICS, DefaultScope
from PIL import Image
from torch.utils.data import DataLoader

from mmconvnext.datasets.findings import Severity
from mmconvnext.errors import UserError
from mmconvnext.runner import rehearsal
from mmconvnext.runner.rehearsal import rehearse

HEIGHT, WIDTH = 64, 96


@pytest.fixture
def folder(tmp_path):
    """Three images, each with a box that is a polygon and one that is run lengths, and with a label map."""
    annotations = []
    for image in (1, 2, 3):
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), 80, np.uint8)).save(tmp_path / f'{image}.jpg')
        Image.fromarray(np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint8) % 3).save(
            tmp_path / f'{image}.png'
        )
        polygon = [[10, 10, 40, 10, 40, 30, 10, 30]]
        counts = [50 * HEIGHT + 20, *(20, 44) * 19, 20, 24 + 26 * HEIGHT]  # 20 rows from 20 on, 20 columns from 50 on
        for box, category, mask in (
            ([10, 10, 30, 20], 7, polygon),
            ([50, 20, 20, 20], 9, dict(size=[HEIGHT, WIDTH], counts=counts)),
        ):
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image,
                    bbox=box,
                    area=box[2] * box[3],
                    category_id=category,
                    segmentation=mask,
                    iscrowd=0,
                )
            )
    write(tmp_path / 'truth.json', annotations)
    return tmp_path


def write(path, annotations):
    images = [dict(id=image, file_name=f'{image}.jpg', height=HEIGHT, width=WIDTH) for image in (1, 2, 3)]
    categories = [dict(id=7, name='cat'), dict(id=9, name='dog')]
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))


def loader_of(dataset):
    return DataLoader(dataset, batch_size=1, collate_fn=pseudo_collate)


def detection(folder, pipeline=(), truth='truth.json', **settings):
    """A data loader of the images, and the evaluator of an annotation file."""
    DefaultScope.get_instance('mmdet', scope_name='mmdet')
    with DATASETS.switch_scope_and_registry('mmdet') as registry:
        dataset = registry.build(
            dict(
                type='CocoDataset',
                data_root=str(folder),
                ann_file='truth.json',
                data_prefix=dict(img=''),
                metainfo=dict(classes=('cat', 'dog')),
                test_mode=True,
                pipeline=[
                    dict(type='LoadImageFromFile'),
                    *pipeline,
                    dict(type='Resize', scale=(48, 32)),
                    dict(
                        type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
                    ),
                ],
                **settings,
            )
        )
    with METRICS.switch_scope_and_registry('mmdet') as registry:
        metric = registry.build(
            dict(type='CocoMetric', metric=['bbox', 'segm'], ann_file=str(folder / truth), format_only=False)
        )
    metric.dataset_meta = dataset.metainfo
    return loader_of(dataset), Evaluator(metric)


def segmentation(folder, *transforms):
    DefaultScope.get_instance('mmseg', scope_name='mmseg')
    with DATASETS.switch_scope_and_registry('mmseg') as registry:
        dataset = registry.build(
            dict(
                type='BaseSegDataset',
                data_root=str(folder),
                data_prefix=dict(img_path='', seg_map_path=''),
                metainfo=dict(classes=('a', 'b', 'c')),
                reduce_zero_label=False,
                test_mode=True,
                pipeline=[dict(type='LoadImageFromFile'), *map(dict, transforms), dict(type='PackSegInputs')],
            )
        )
    with METRICS.switch_scope_and_registry('mmseg') as registry:
        metric = registry.build(dict(type='IoUMetric', iou_metrics=['mIoU', 'mDice']))
    metric.dataset_meta = dataset.metainfo
    return loader_of(dataset), Evaluator(metric)


def shifted(folder, by):
    """The truth, with each box and each polygon some pixels to the right."""
    annotations = json.loads((folder / 'truth.json').read_text())['annotations']
    for annotation in annotations:
        annotation['bbox'][0] += by
        if isinstance(annotation['segmentation'], list):
            annotation['segmentation'] = [[v + by * (i % 2 == 0) for i, v in enumerate(annotation['segmentation'][0])]]
    write(folder / 'shifted.json', annotations)
    return 'shifted.json'


def test_sound_data_has_nothing_to_say_and_nothing_is_left_of_it(folder, capsys):
    loader, evaluator = detection(folder)
    capsys.readouterr()
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    assert not len(rehearse('val_dataloader', loader, evaluator))
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(torch.get_rng_state(), states[2])
    (metric,) = evaluator.metrics
    assert metric.results == []
    assert metric.img_ids is None
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize(('by', 'severity'), [(4, Severity.CHANGES), (60, Severity.REFUSES)])
def test_an_evaluator_of_other_boxes_is_said_and_refused_where_nothing_is_right(folder, by, severity):
    findings = rehearse('val_dataloader', *detection(folder, truth=shifted(folder, by)))
    (finding,) = findings.of('truth-scores-bbox_mAP')
    assert finding.severity is severity
    assert finding.file == 'val_dataloader'


def test_records_that_are_not_loaded_are_not_counted_as_missed(folder):
    content = json.loads((folder / 'truth.json').read_text())
    content['annotations'][0]['bbox'][2] = 0  # without width: MMDetection leaves it out, which the data checks say
    content['annotations'][2]['iscrowd'] = 1
    (folder / 'truth.json').write_text(json.dumps(content))
    assert not len(rehearse('val_dataloader', *detection(folder)))


def test_a_transform_that_refuses_a_sample_is_named_with_the_split(folder):
    loader, evaluator = detection(folder, pipeline=[dict(type='FilterAnnotations')])  # there are none yet
    with pytest.raises(UserError, match='val_dataloader: image 0 of 3') as error:
        rehearse('val_dataloader', loader, evaluator)
    assert error.value.__cause__ is not None


def test_samples_that_no_evaluator_can_take_are_refused(folder):
    loader, evaluator = detection(folder)
    loader.dataset.pipeline.transforms[-1].meta_keys = ('img_id', 'img_path')
    findings = rehearse('val_dataloader', loader, evaluator)
    assert [finding.kind for finding in findings] == ['sample-without-ori_shape']
    assert findings.refuses


def test_an_evaluator_without_a_file_takes_the_truth_from_the_samples(folder):
    loader, evaluator = detection(folder)
    (metric,) = evaluator.metrics
    metric._coco_api = None  # as with ann_file=None
    with pytest.raises(UserError, match=r'val_dataloader.*ground truth is required'):
        rehearse('val_dataloader', loader, evaluator)
    loader.dataset.pipeline.transforms[-1].meta_keys += ('instances',)
    assert not len(rehearse('val_dataloader', loader, evaluator))


def test_label_maps(folder):
    load, resize = dict(type='LoadAnnotations'), dict(type='Resize', scale=(48, 32))
    assert not len(rehearse('val_dataloader', *segmentation(folder, resize, load)))
    for transforms, kind in (((load, resize), 'truth-of-another-size'), ((resize,), 'no-truth-to-evaluate')):
        findings = rehearse('val_dataloader', *segmentation(folder, *transforms))
        assert [finding.kind for finding in findings] == [kind]
        assert findings.refuses


def test_transforms_that_keep_images_do_not_keep_those_of_the_rehearsal(folder):
    loader, _ = detection(folder, pipeline=[dict(type='LoadAnnotations', with_bbox=True)])
    seen = []
    loader.dataset.pipeline.transforms.insert(1, Keeper(seen))
    rehearse('train_dataloader', loader)
    assert loader.dataset.pipeline.transforms[1].seen == []


class Keeper:
    """Keeps what it saw, as CachedMosaic does."""

    def __init__(self, seen):
        self.seen = seen

    def __call__(self, results):
        self.seen.append(results['img_path'])
        return results


def test_it_ends_when_its_time_is_over(folder, monkeypatch):
    loader, _ = detection(folder)
    loaded = []
    monkeypatch.setattr(type(loader.dataset), '__getitem__', lambda self, index: loaded.append(index) or {})
    monkeypatch.setattr(rehearsal, 'SECONDS', 0)
    rehearse('train_dataloader', loader)
    assert loaded == [0]


def test_an_evaluation_of_hours_is_said(folder, monkeypatch):
    monkeypatch.setattr(rehearsal, 'LONGEST_EVALUATION', 0.0)
    findings = rehearse('val_dataloader', *detection(folder))
    assert [finding.kind for finding in findings] == ['slow-evaluation']


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize(('ignored', 'severity'), [(3, Severity.REFUSES), (2, None)])
def test_label_maps_in_which_everything_is_ignored(folder, ignored, severity):
    """mIoU was NaN, and NumPy warned of the mean of an empty slice."""
    for image in range(ignored):
        Image.fromarray(np.full((HEIGHT, WIDTH), 255, np.uint8)).save(folder / f'{image + 1}.png')
    findings = rehearse('val_dataloader', *segmentation(folder, dict(type='LoadAnnotations')))
    assert {finding.kind: finding.severity for finding in findings} == (
        {'nothing-to-evaluate': severity} if severity else {}
    )
