"""Trainings of a student and a teacher from the command line: they learn, go on where they stopped, and are tested."""

import json
from pathlib import Path

import pytest
import torch

from tests.commands import Commands

TOY = """
_base_ = {base!r}
model = dict(
    detector=dict(
        backbone=dict(arch=dict(_delete_=True, depths=(1, 1, 1, 1), widths=(8, 8, 16, 16))),
        neck=dict(out_channels=16),
        rpn_head=dict(in_channels=16, feat_channels=16),
        roi_head=dict(
            bbox_roi_extractor=dict(out_channels=16), bbox_head=dict(in_channels=16, fc_out_channels=32)
        ),
    )
)
"""
FEW = ('val_dataloader.dataset.indices=2', 'test_dataloader.dataset.indices=2', 'default_hooks.logger.interval=1')


@pytest.mark.slow
@pytest.mark.parametrize(
    ('stem', 'settings', 'logged'),
    [
        ('soft_teacher', ('model.semi_train_cfg.burn_in=0.5',), {'sup_loss_cls', 'unsup_loss_cls', 'unsup_boxes'}),
        (
            'meta_pseudo_labels',
            ('model.semi_train_cfg.student_wait=0.3', 'model.semi_train_cfg.finetune=0.0'),
            {'student_loss', 'teacher_loss_feedback', 'reward', 'student.lr', 'teacher.lr'},
        ),
    ],
)
def test_it_trains_resumes_and_is_tested(
    root: Path, commands: Commands, tmp_path: Path, stem, settings, logged
) -> None:
    config = tmp_path / 'toy.py'
    config.write_text(TOY.format(base=str(root / f'configs/semi/{stem}_faster_rcnn_convnext_t_10p.py')))

    def run(tool: str, *arguments: str) -> str:
        words = [root / 'tools' / tool, config, *arguments, '--mini', '--work-dir', 'run']
        words += ['--cfg-options', *FEW, *settings, 'train_cfg.max_iters=4', *steps]
        status, printed = commands.run(words, cwd=tmp_path, log=tmp_path / 'printed.txt')
        assert status == 0, printed[-6000:]
        return printed

    steps = ('train_cfg.val_interval=2', 'default_hooks.checkpoint.interval=2')
    printed = run('train.py', '--seed', '0')
    for row in ('teacher box', 'student box'):
        assert row in printed
    assert 'Warning' not in printed
    records = [
        json.loads(line)
        for path in tmp_path.glob('run/*/vis_data/scalars.json')
        for line in path.read_text().splitlines()
    ]
    assert logged <= {name for record in records for name in record}
    assert [record['step'] for record in records if 'loss' in record] == [1, 2, 3, 4]
    assert (tmp_path / 'run/curves.png').is_file()

    whole = torch.load(tmp_path / 'run/iter_4.pth', weights_only=False)['state_dict']
    (tmp_path / 'run/iter_4.pth').unlink()
    (tmp_path / 'run/last_checkpoint').write_text(str(tmp_path / 'run/iter_2.pth'))
    assert 'resumed epoch: 0, iter: 2' in run('train.py', '--seed', '0', '--resume')
    resumed = torch.load(tmp_path / 'run/iter_4.pth', weights_only=False)['state_dict']
    assert resumed.keys() == whole.keys()

    printed = run('test.py', 'run/iter_4.pth')
    assert 'box' in printed
