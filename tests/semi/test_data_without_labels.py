import json

import pytest

from mmconvnext.config_tree import datasets_of
from mmconvnext.datasets.checks import check_data
from mmconvnext.datasets.errors import DataError
from tests.semi.teachers import SOFT_TEACHER, small_config


def test_images_without_labels_are_checked_as_such(coco):
    cfg = small_config(SOFT_TEACHER, coco)
    checked = check_data(cfg, ['train_dataloader'], segmentation=False)
    assert not checked.findings.refuses
    assert '-unlabeled.json' not in checked.findings.table()
    labelled, unlabelled = (node for _, node in datasets_of(cfg.train_dataloader.dataset))
    # Labelled images need theirs
    labelled.ann_file, kept = unlabelled.ann_file, labelled.ann_file
    assert check_data(cfg, ['train_dataloader'], segmentation=False).findings.refuses
    labelled.ann_file = kept
    # unlabeled2017 of COCO has no categories, by which MMDetection would number the classes
    content = json.loads((coco / unlabelled.ann_file).read_text())
    del content['categories']
    (coco / 'semi_anns/bare.json').write_text(json.dumps(content))
    unlabelled.ann_file = 'semi_anns/bare.json'
    findings = check_data(cfg, ['train_dataloader'], segmentation=False).findings
    with pytest.raises(DataError, match='categories'):
        findings.refuse()
