"""The comparison of students with their teacher is fair: the same model, data and number of steps."""

import argparse

import mmengine.registry
import pytest
import torch
from mmengine.registry import init_default_scope

from benchmarks import noisy_student
from mmconvnext.config.prepare import configure
from mmconvnext.semi.settings import settings_of


@pytest.fixture
def configs(tmp_path):
    def write(without_noise):
        args = argparse.Namespace(work_dir=tmp_path, steps=120, rounds=2, score_thr=0.6, without_noise=without_noise)
        student = noisy_student.write_configs(args, tmp_path / 'data')
        return configure(str(tmp_path / 'teacher.py'))[0], configure(str(student))[0]

    return write


@pytest.mark.parametrize('without_noise', [False, True])
def test_teacher_and_student_differ_in_noise_alone(configs, without_noise):
    teacher, student = configs(without_noise)
    settings = settings_of(student)
    assert (settings.rounds, settings.selection.score_thr, settings.batch_ratio) == (2, 0.6, (1, 1))
    assert teacher.train_cfg.max_iters == student.train_cfg.max_iters == 120
    pipelines = [cfg.train_dataloader.dataset.pop('pipeline') for cfg in (teacher, student)]
    more = [transform.type for transform in pipelines[1] if transform not in pipelines[0]]
    assert more == ([] if without_noise else ['RandAugment', 'RandomErasing'])
    for cfg in (teacher, student):
        for name in ('noise', 'labelled', 'noisy_student'):
            cfg.pop(name, None)
    assert teacher.to_dict() == student.to_dict()


def test_the_small_model_builds(configs):
    teacher, _ = configs(False)
    init_default_scope('mmdet')
    with torch.device('meta'):
        model = mmengine.registry.MODELS.build(teacher.model)
    assert sum(p.numel() for p in model.parameters()) < 2e6


def test_the_table_has_the_means():
    def row(seed, teacher, student):
        metrics = {'teacher': teacher, 'student 1': student}
        return {
            'seed': seed,
            **{name: {'coco/bbox_mAP': value, 'coco/segm_mAP': value / 2} for name, value in metrics.items()},
        }

    lines = noisy_student.table([row(0, 0.2, 0.4), row(1, 0.4, 0.5)]).splitlines()
    assert lines[0] == '| seed | teacher, box AP | student 1, box AP | teacher, mask AP | student 1, mask AP |'
    assert lines[-1] == '| mean | 0.300 | 0.450 | 0.150 | 0.225 |'
