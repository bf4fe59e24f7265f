"""The command lines, as a user runs them, on a toy size: train, resume, test, and what they say when they cannot."""

import json
import os
import pickle
import re
import socket
import subprocess
import sys
from pathlib import Path

import mmcv
import numpy as np
import pytest

TOY = """
_base_ = {base!r}
model = dict(backbone=dict(arch=dict(_delete_=True, depths=(1, 1, 3, 1), widths=(8, 8, 16, 16))))
"""
# Necks and heads of 16 channels: those of the configs take most of the time and of each checkpoint
SHARED = (
    *('neck.out_channels', 'rpn_head.in_channels', 'rpn_head.feat_channels'),
    *('roi_head.bbox_roi_extractor.out_channels', 'roi_head.mask_roi_extractor.out_channels'),
    *('roi_head.mask_head.in_channels', 'roi_head.mask_head.conv_out_channels'),
)
MASK_RCNN = tuple(
    f'model.{name}=16' for name in (*SHARED, 'roi_head.bbox_head.in_channels', 'roi_head.bbox_head.fc_out_channels')
)
CASCADE = tuple(
    f'model.{name}=16'
    for name in (
        *SHARED,
        *(
            f'roi_head.bbox_head.{stage}.{name}'
            for stage in range(3)
            for name in ('in_channels', 'conv_out_channels', 'fc_out_channels')
        ),
    )
)
FEW = ('train_dataloader.dataset.indices=6', 'val_dataloader.dataset.indices=2', 'train_dataloader.batch_size=2')
# All that a training shows: the data, what the machine decides, the training, its evaluations, the table, the places
SHOWN = re.compile(
    r'the data:|  left out  |(train|val|test): '
    r'|\S+ \S+ - mmengine - INFO - (no GPU: |Checkpoints will be saved |Exp name: |(Epoch|Iter)\(|Saving checkpoint '
    r'|The best checkpoint |per class results:|$)'
    r'|[+|]|               AP |(box|mask)( +[0-9.-]+){6}$|    mIoU |( +[0-9.]+){3}$'
    r'|(curves|pictures|weights|log)  |\s*$'
)
CONFIGS = {
    'mask_rcnn': 'detection/mask_rcnn_convnext_t_3x.py',
    'cascade': 'detection/cascade_convnext_t_3x.py',
    'upernet': 'segmentation/upernet_convnext_t_160k.py',
}


def foreign(printed):
    """Lines that are not of those that a training shows."""
    lines = re.split(r'[\r\n]|\x1b\[A', printed)
    return [line for line in lines if not SHOWN.match(line)]


@pytest.fixture(scope='module')
def tool(root, python, commands, tmp_path_factory):
    """Runs a tool in a folder of its own, and gives back what it printed."""
    folder = tmp_path_factory.mktemp('user')

    def run(name, *arguments, expect=0, with_imports=False):
        words = [str(root / 'tools' / name), *map(str, arguments)]
        env = {'TORCH_HOME': str(folder / 'empty')}
        if with_imports:
            env |= os.environ | {'OMP_NUM_THREADS': '2'}
            done = subprocess.run([python, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=570)
            status, printed = done.returncode, done.stdout + done.stderr
        else:
            status, printed = commands.run(words, cwd=folder, log=folder / 'printed.txt', env=env)
        assert status == expect, printed[-6000:]
        return printed

    run.folder = folder
    return run


@pytest.fixture
def config(root, tool):
    """A config of the given model whose backbone is a toy."""

    def write(name):
        path = tool.folder / f'{name}_toy.py'
        path.write_text(TOY.format(base=str(root / 'configs' / CONFIGS[name])))
        return path

    return write


@pytest.mark.slow
def test_detector_trains_resumes_and_is_tested(tool, config):
    path, work_dir = config('mask_rcnn'), tool.folder / 'detector'
    mini = ('--mini', '--work-dir', work_dir, '--seed', 0)
    # --mini scales the warm-up to all of its images; of these few it would be longer than the training, which is said.
    # After three steps at the whole rate the toy detects nothing, which MMDetection logs as an error
    rate = ('param_scheduler.0.end=2', 'optim_wrapper.optimizer.lr=1e-6')
    once = (*MASK_RCNN, *FEW, 'train_cfg.max_epochs=1', *rate)
    printed = tool('train.py', path, *mini, '--cfg-options', *once, with_imports=True)  # which print and warn
    assert 'no GPU' in printed
    assert 'train: ' in printed  # the progress bar
    assert foreign(printed) == []
    (log,) = work_dir.glob('*/*.log')
    for listing in ('Config:', 'layer_wise learning-rate decay', 'Average Recall'):
        assert listing in log.read_text()
    assert (work_dir / 'curves.png').is_file()
    assert len(list((work_dir / 'pictures').glob('*.png'))) == 2
    assert (work_dir / 'epoch_1.pth').is_file()

    twice = (*MASK_RCNN, *FEW, 'train_cfg.max_epochs=2')
    printed = tool('train.py', path, *mini, '--resume', '--cfg-options', *twice)
    assert 'resumed epoch: 1' in printed
    runs = sorted(work_dir.glob('*/vis_data/scalars.json'))  # of the training, then of its resumption
    logged = [json.loads(line) for run in runs for line in run.read_text().splitlines()]
    assert [r['epoch'] for r in logged if 'loss' in r] == [1, 2]

    curves = (work_dir / 'curves.png').read_bytes()
    moved = work_dir.rename(tool.folder / 'moved')
    printed = tool('train.py', path, *mini[:2], moved, '--resume', '--cfg-options', *twice)
    assert 'this training had already finished' in printed
    assert f'weights   {moved / "epoch_2.pth"}' in printed
    assert (moved / 'curves.png').read_bytes() == curves
    work_dir = moved

    out, pictures = tool.folder / 'detections.pkl', tool.folder / 'pictures'
    printed = tool(
        'test.py',
        path,
        work_dir / 'epoch_2.pth',
        '--mini',
        '--out',
        out,
        '--show-dir',
        pictures,
        '--cfg-options',
        *MASK_RCNN,
        'test_dataloader.dataset.indices=2',
    )
    assert printed.count('Average Precision') == 12  # of boxes and of masks
    assert printed.count('Average Recall') == 12
    assert len(pickle.loads(out.read_bytes())) == 2
    assert not list(out.parent.glob('*unfinished*'))
    assert len(list(pictures.glob('*.png'))) == 2


@pytest.mark.slow
def test_segmentor_trains_and_is_tested_also_with_tta_and_fused_weights(tool, config):
    path, work_dir = config('upernet'), tool.folder / 'segmentor'
    steps = ('train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'default_hooks.checkpoint.interval=2')
    options = (*FEW, 'model.decode_head.channels=16', 'model.auxiliary_head.channels=16')
    printed = tool('train.py', path, '--mini', '--work-dir', work_dir, '--cfg-options', *options, *steps)
    assert foreign(printed) == []
    maps = {}
    for extra in ((), ('--tta',), ('--fuse',)):
        out = tool.folder / f'maps{len(maps)}'
        printed = tool(
            'test.py',
            path,
            work_dir / 'iter_2.pth',
            '--mini',
            *extra,
            '--out',
            out,
            '--cfg-options',
            *options,
            'test_dataloader.dataset.indices=2',
        )
        assert 'mIoU' in printed
        assert 'triangle' in printed  # IoU of each class
        maps[extra] = np.stack([mmcv.imread(path, 'unchanged') for path in sorted(out.glob('*.png'))])
        assert len(maps[extra]) == 2
    assert (maps[()] == maps['--fuse',]).mean() > 0.999


@pytest.mark.slow
def test_two_processes_train_and_evaluate_on_the_cpu(tool, config, root):
    options = ('--mini', '--work-dir', tool.folder / 'two', '--cfg-options', *MASK_RCNN, *FEW, 'train_cfg.max_epochs=1')
    script = [root / 'tools/dist_train.sh', config('mask_rcnn'), 2, *options]
    venv = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    env = os.environ | {'PATH': venv, 'PORT': str(port), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [str(part) for part in script], cwd=tool.folder, env=env, capture_output=True, text=True, timeout=570
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert 'Epoch(train) [1][2/2]' in ' '.join(done.stdout.split())  # 6 images over 2 processes of 2 images
    assert done.stdout.count('AP50') == 1  # one process reports


@pytest.mark.slow
def test_cascade_trains(tool, config):
    printed = tool('train.py', config('cascade'), '--mini', '--cfg-options', *CASCADE, *FEW, 'train_cfg.max_epochs=1')
    assert 'work_dirs/cascade_toy_mini/curves.png' in printed
    assert 'AP50' in printed


def test_missing_data_is_one_sentence(tool, config):
    printed = tool('train.py', config('cascade'), '--data-root', 'nowhere', expect=2)
    assert 'Traceback' not in printed
    assert str(tool.folder / 'nowhere/train2017') in printed
    assert '--mini' in printed
