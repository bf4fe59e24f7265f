import matplotlib.image
import numpy as np

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
