import json
from types import SimpleNamespace

import matplotlib.image
import mmcv
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer

from mmconvnext.runner import curves, pictures
from mmconvnext.runner.metrics_table import metrics_table


def test_coco_table():
    metrics = {f'coco/{k}_mAP{s}': 0.5 for k in ('bbox', 'segm') for s in ('', '_50', '_75', '_s', '_m')}
    metrics |= {'coco/bbox_mAP_l': -1.0, 'coco/segm_mAP_l': -1.0, 'coco/bbox_mAP_50': 0.625}
    head, box, mask = metrics_table(metrics).splitlines()
    assert head.split() == ['AP', 'AP50', 'AP75', 'AP', 'small', 'AP', 'medium', 'AP', 'large']
    assert box.split() == ['box', '0.500', '0.625', '0.500', '0.500', '0.500', '-']
    assert mask.split()[0] == 'mask'
    assert len(metrics_table({k: v for k, v in metrics.items() if 'bbox' in k}).splitlines()) == 2


def test_miou_table():
    table = metrics_table(dict(mIoU=np.float32(61.25), mAcc=70.0, aAcc=np.float64(90.5))).splitlines()
    assert table[0].split() == ['mIoU', 'mAcc', 'aAcc']
    assert table[1].split() == ['61.25', '70.00', '90.50']


@pytest.mark.parametrize(
    ('metrics', 'names', 'values'),
    [
        (dict(aAcc=90.0, mDice=61.25, mAcc=70.0), 'mAcc aAcc mDice', '70.00 90.00 61.25'),
        ({'coco/AR@100': 0.5, 'coco/AR@300': 0.625, 'time': 0.1, 'step': 3}, 'AR@100 AR@300', '0.500 0.625'),
        ({'pascal_voc/mAP': 0.25, 'pascal_voc/AP50': 0.25}, 'AP50 mAP', '0.250 0.250'),
        ({'mine/copy': '0.1 0.2', 'mine/score': 3}, 'score', '3.000'),
        (dict(coco='nothing'), '', ''),
    ],
)
def test_metrics_of_other_evaluators_are_shown_by_their_names(metrics, names, values):
    """The table had the columns AP AP50 ..., and no row."""
    lines = metrics_table(metrics).splitlines() or ['', '']
    assert [sorted(line.split()) for line in lines] == [sorted(names.split()), sorted(values.split())]


def test_curves_are_drawn(tmp_path):
    train = [dict(step=i, loss=1 / i) for i in range(1, 9)]
    val = [{'step': i, 'coco/bbox_mAP_50': i / 10, 'coco/bbox_mAP': i / 20} for i in (1, 2)]
    curves.draw_curves(train, val, tmp_path / 'curves.png')
    picture = matplotlib.image.imread(tmp_path / 'curves.png')
    assert picture.shape[:2] == (432, 1200)
    assert len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)) > 10


def test_small_detection_is_drawn_enlarged_with_its_boxes(tmp_path):
    image = np.zeros((96, 64, 3), np.uint8)
    mmcv.imwrite(image, str(tmp_path / 'image.png'))
    masks = np.zeros((1, 96, 64), np.uint8)
    masks[0, 10:30, 10:40] = 1
    sample = DetDataSample(metainfo=dict(img_path=str(tmp_path / 'image.png')))
    box = torch.tensor([[10.0, 10, 40, 30]])
    sample.gt_instances = InstanceData(labels=torch.zeros(1, dtype=int), bboxes=box, masks=BitmapMasks(masks, 96, 64))
    sample.pred_instances = InstanceData(
        labels=torch.zeros(1, dtype=int), bboxes=box.clone(), masks=torch.from_numpy(masks) > 0, scores=torch.ones(1)
    )
    visualizer = DetLocalVisualizer()
    visualizer.dataset_meta = dict(classes=('disc',), palette=[(0, 255, 0)])
    pictures.draw_result(visualizer, sample, tmp_path / 'drawn.png')
    drawn = mmcv.imread(str(tmp_path / 'drawn.png'))
    assert drawn.shape == (96 * 7, 2 * 64 * 7, 3)  # 7 x 64 is the first multiple above 400
    for half in (drawn[:, : 64 * 7], drawn[:, 64 * 7 :]):
        rows, columns = np.nonzero(half.any(-1))
        # Ground truth and result are where they were, seven times as large, but for the width of the lines
        assert np.abs(np.array([rows.max(), columns.max()]) - np.array([30, 40]) * 7).max() <= 8
    assert torch.equal(sample.gt_instances.bboxes, box)


def test_small_label_map_is_drawn_enlarged(tmp_path):
    mmcv.imwrite(np.zeros((64, 96, 3), np.uint8), str(tmp_path / 'image.png'))
    sample = SegDataSample(metainfo=dict(img_path=str(tmp_path / 'image.png')))
    labels = torch.zeros(1, 64, 96, dtype=torch.long)
    sample.gt_sem_seg = PixelData(data=labels)
    sample.pred_sem_seg = PixelData(data=labels.clone())
    visualizer = SegLocalVisualizer(alpha=1.0)
    visualizer.dataset_meta = dict(classes=('disc',), palette=[(10, 200, 30)])
    pictures.draw_result(visualizer, sample, tmp_path / 'drawn.png')
    assert mmcv.imread(str(tmp_path / 'drawn.png')).shape == (64 * 7, 2 * 96 * 7, 3)


def runner_with(work_dir, runs, resumed_from=None):
    """A runner whose work directory has these runs in it, by name; the last is its own."""
    for name, records in runs.items():
        path = work_dir / name / 'vis_data' / 'scalars.json'
        path.parent.mkdir(parents=True)
        path.write_text(''.join(json.dumps(record) + '\n' for record in records))
    cfg = dict(resume=resumed_from is not None, load_from=resumed_from and str(resumed_from))
    return SimpleNamespace(log_dir=str(work_dir / name), work_dir=str(work_dir), cfg=cfg)


def steps(*numbers, **others):
    return [dict(step=n, **others) for n in numbers]


def test_curves_after_a_resume_show_what_was_before(tmp_path):
    runs = {
        '20250101_000000': steps(1, 2, 3, loss=1.0) + steps(3, mIoU=50.0) + steps(4, loss=1.0),  # 4 was lost
        '20250102_000000': steps(4, 5, loss=0.5) + steps(5, mIoU=60.0),
        '20250103_000000': steps(6, loss=0.25) + steps(6, mIoU=70.0),
    }
    (tmp_path / 'pictures').mkdir()  # holds no scalars
    train, val = curves.read_scalars(runner_with(tmp_path, runs, tmp_path / 'iter_5.pth'))
    assert [(r['step'], r['loss']) for r in train] == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 0.5), (5, 0.5), (6, 0.25)]
    assert [(r['step'], r['mIoU']) for r in val] == [(3, 50.0), (5, 60.0), (6, 70.0)]


def test_resuming_a_finished_training_keeps_its_curves(tmp_path):
    runs = {'20250101_000000': steps(1, 2, loss=1.0) + steps(2, mIoU=50.0), '20250102_000000': []}
    train, val = curves.read_scalars(runner_with(tmp_path, runs, tmp_path / 'iter_2.pth'))
    assert ([r['step'] for r in train], [r['step'] for r in val]) == ([1, 2], [2])


def test_resuming_into_another_folder_takes_the_curves_along(tmp_path):
    runner_with(tmp_path / 'old', {'20250101_000000': steps(1, 2, loss=1.0)})
    runs = {'20250101_000001': steps(9, loss=9.0), '20250102_000000': steps(3, loss=0.5)}  # the first is unrelated
    train, _ = curves.read_scalars(runner_with(tmp_path / 'new', runs, tmp_path / 'old' / 'iter_2.pth'))
    assert [(r['step'], r['loss']) for r in train] == [(1, 1.0), (2, 1.0), (3, 0.5)]


def test_a_training_from_the_beginning_has_curves_of_its_own(tmp_path):
    runs = {'20250101_000000': steps(1, 2, 3, loss=1.0), '20250102_000000': steps(5, loss=0.5)}
    train, _ = curves.read_scalars(runner_with(tmp_path, runs))
    assert [r['step'] for r in train] == [5]


def test_a_killed_run_may_have_left_part_of_a_line(tmp_path):
    runner = runner_with(tmp_path, {'20250101_000000': steps(1, 2, loss=1.0)})
    path = tmp_path / '20250101_000000' / 'vis_data' / 'scalars.json'
    path.write_text(path.read_text() + '{"loss": 0.')
    train, _ = curves.read_scalars(runner)
    assert [r['step'] for r in train] == [1, 2]


def test_curves_without_an_evaluation(tmp_path):
    curves.draw_curves([dict(step=1, loss=1.0)], [], tmp_path / 'curves.png')
    assert matplotlib.image.imread(tmp_path / 'curves.png').shape[:2] == (432, 1200)


def test_images_without_ground_truth_are_drawn(tmp_path):
    mmcv.imwrite(np.zeros((64, 96, 3), np.uint8), str(tmp_path / 'image.png'))
    meta = dict(classes=('disc',), palette=[(10, 200, 30)])
    detections = DetDataSample(metainfo=dict(img_path=str(tmp_path / 'image.png')))
    detections.pred_instances = InstanceData(
        labels=torch.zeros(1, dtype=int), bboxes=torch.tensor([[10.0, 10, 40, 30]]), scores=torch.ones(1)
    )
    labels = SegDataSample(metainfo=dict(img_path=str(tmp_path / 'image.png')))
    labels.pred_sem_seg = PixelData(data=torch.zeros(1, 64, 96, dtype=torch.long))
    for visualizer, sample in ((DetLocalVisualizer(), detections), (SegLocalVisualizer(alpha=1.0), labels)):
        visualizer.dataset_meta = meta
        pictures.draw_result(visualizer, sample, tmp_path / 'drawn.png')
        assert mmcv.imread(str(tmp_path / 'drawn.png'))[:, -96 * 7 :].any()
