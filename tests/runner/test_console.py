import logging
import warnings

import numpy as np
import torch
from mmseg.evaluation import IoUMetric

from mmconvnext.runner.console import LISTINGS, hide_foreign_warnings, hide_pycocotools, only_to_file


def test_listings_stay_in_the_file(tmp_path, capsys):
    logger = logging.Logger('test')
    logger.addHandler(logging.StreamHandler())
    logger.addHandler(logging.FileHandler(tmp_path / 'log'))
    only_to_file(logger, LISTINGS)
    logger.info('Config:\nmodel = dict()')
    logger.info('step 1')
    assert capsys.readouterr().err == 'step 1\n'
    assert (tmp_path / 'log').read_text() == 'Config:\nmodel = dict()\nstep 1\n'


def test_pycocotools_lines_are_set_aside_and_others_are_not(capsys):
    with hide_pycocotools() as figures:
        print('creating index...\na line of my dataset\n Average Recall     (AR) @[ IoU=0.50:0.95 ] = 0.5')
    assert capsys.readouterr().out == 'a line of my dataset\n'
    assert figures == [' Average Recall     (AR) @[ IoU=0.50:0.95 ] = 0.5']


def test_an_evaluation_of_nothing_does_not_warn():
    metric = IoUMetric(iou_metrics=['mIoU', 'mFscore'])
    metric.dataset_meta = dict(classes=('a', 'b'))
    nothing = torch.full((4, 6), 255)
    metric.process(None, [dict(pred_sem_seg=dict(data=nothing * 0), gt_sem_seg=dict(data=nothing))])
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        hide_foreign_warnings()
        assert np.isnan(metric.compute_metrics(metric.results)['mIoU'])
