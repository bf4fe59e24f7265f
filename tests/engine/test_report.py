import matplotlib.image
import mmcv
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer

from mmconvnext.engine import report


def test_coco_table():
    metrics = {f'coco/{k}_mAP{s}': 0.5 for k in ('bbox', 'segm') for s in ('', '_50', '_75', '_s', '_m')}
    metrics |= {'coco/bbox_mAP_l': -1.0, 'coco/segm_mAP_l': -1.0, 'coco/bbox_mAP_50': 0.625}
    head, box, mask = report.metrics_table(metrics).splitlines()
    assert head.split() == ['AP', 'AP50', 'AP75', 'AP', 'small', 'AP', 'medium', 'AP', 'large']
    assert box.split() == ['box', '0.500', '0.625', '0.500', '0.500', '0.500', '-']
    assert mask.split()[0] == 'mask'
    assert len(report.metrics_table({k: v for k, v in metrics.items() if 'bbox' in k}).splitlines()) == 2


def test_miou_table():
    table = report.metrics_table(dict(mIoU=61.25, mAcc=70.0, aAcc=90.5)).splitlines()
    assert table[0].split() == ['mIoU', 'mAcc', 'aAcc']
    assert table[1].split() == ['61.25', '70.00', '90.50']


def test_curves_are_drawn(tmp_path):
    train = [dict(step=i, loss=1 / i) for i in range(1, 9)]
    val = [{'step': i, 'coco/bbox_mAP_50': i / 10, 'coco/bbox_mAP': i / 20} for i in (1, 2)]
    report.draw_curves(train, val, tmp_path / 'curves.png')
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
    report.draw_result(visualizer, sample, tmp_path / 'drawn.png')
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
    report.draw_result(visualizer, sample, tmp_path / 'drawn.png')
    assert mmcv.imread(str(tmp_path / 'drawn.png')).shape == (64 * 7, 2 * 96 * 7, 3)
