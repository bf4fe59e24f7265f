"""Every command of docs/imagenet.md runs as it stands there, on toy networks and a few images."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import ImageNetInfo

from mmconvnext.backbones import ConvNeXtClassifier
from mmconvnext.checkpoints.manifest import MANIFEST
from tests.commands import Commands
from tests.conftest import ROOT

PAGE = (ROOT / 'docs/imagenet.md').read_text(encoding='utf-8')
ARCH = dict(depths=(1, 1, 1, 1), widths=(8, 8, 8, 8))
TOY = [
    '--cfg-options',
    f'model.backbone.arch={ARCH}',
    *(f'{split}_dataloader.num_workers=0' for split in ('train', 'val', 'test')),
    *(f'{split}_dataloader.batch_size=10' for split in ('val', 'test')),
]
IMAGENET = [*TOY, 'model.backbone.num_classes=10']
EPOCHS = ['param_scheduler.0.end=1', 'param_scheduler.1.begin=1', 'param_scheduler.1.end=2', 'train_cfg.max_epochs=2']
# What makes each of the commands one of seconds, by what it starts with
SMALL = {
    'python tools/finetune.py configs/classification/convnextv2_a': [
        *TOY,
        'train_dataloader.batch_size=10',
        'train_dataloader.dataset.indices=20',
    ],
    'python tools/evaluate.py configs/classification/convnextv2_a': TOY,
    'python tools/evaluate.py configs/classification/convnext_t': IMAGENET,
    'tools/dist_evaluate.sh': IMAGENET,
    'tools/dist_finetune.sh': [*IMAGENET, 'train_dataloader.batch_size=8', *EPOCHS, '--pretrained', 'none'],
    'python tools/finetune.py configs/own/flowers.py': [
        *TOY,
        'train_dataloader.batch_size=10',
        'train_cfg.val_interval=30',
        'default_hooks.checkpoint.interval=30',
        '--pretrained',
        'none',
    ],
    'python tools/convert_checkpoint.py': [],
}


def lines_of_the_page() -> list[str]:
    blocks = [text for kind, text in re.findall(r'```(\w*)\n(.*?)```', PAGE, flags=re.DOTALL) if not kind]
    lines = '\n'.join(blocks).replace('\\\n', ' ').splitlines()
    return [line for line in lines if line.startswith(('python ', 'tools/', 'pip '))]


def write_images(folder: Path, classes: list[str], images: int) -> None:
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(images):
            Image.fromarray(rng.integers(0, 255, (60, 90, 3), np.uint8)).save(folder / name / f'{number}.JPEG')


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a checkout with data, and a cache that looks as if weights had been downloaded."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    (tmp_path / 'tools').symlink_to(ROOT / 'tools')
    (tmp_path / 'configs/own').mkdir(parents=True)
    for name in ('_base_', 'classification'):
        (tmp_path / 'configs' / name).symlink_to(ROOT / 'configs' / name)
    (config,) = re.findall(r'```python\n# configs/own/flowers.py\n(.*?)```', PAGE, flags=re.DOTALL)
    (tmp_path / 'configs/own/flowers.py').write_text(config)
    for split in ('train', 'val'):
        write_images(tmp_path / 'data/imagenet' / split, ImageNetInfo().label_names()[:10], 2)
        write_images(tmp_path / 'data/flowers' / split, ['aster', 'lily', 'rose', 'tulip', 'viola'], 2)
    (tmp_path / 'cache/hub/checkpoints').mkdir(parents=True)
    for name, version in (('convnext_tiny.in1k_ema', 1), ('convnextv2_base.fcmae_ft_in22k_in1k_384', 2)):
        state = ConvNeXtClassifier(10, arch=ARCH, version=version).state_dict()
        torch.save(dict(model=state), tmp_path / 'cache/hub/checkpoints' / MANIFEST[name].file)
    return tmp_path


def as_torchrun(command: list[str]) -> tuple[list[str], dict[str, str]]:
    """What a script of tools/ starts in the first of its processes, and the environment that torchrun gives it."""
    run = subprocess.run(
        ['bash', *command], capture_output=True, text=True, env=os.environ | {'PYTHON': 'echo'}, check=True, timeout=60
    )
    words = shlex.split(run.stdout)
    assert words[:2] == ['-m', 'torch.distributed.run']
    assert '--nproc_per_node=8' in words
    start = next(index for index, word in enumerate(words) if word.endswith('.py'))
    group = dict(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', LOCAL_WORLD_SIZE='1', MASTER_ADDR='127.0.0.1')
    return words[start:], group | dict(MASTER_PORT='0')


@pytest.mark.slow
def test_every_command_runs(checkout: Path, commands: Commands) -> None:
    cache = {'TORCH_HOME': os.environ['TORCH_HOME']}
    runs, found = [], set()
    for command in lines_of_the_page():
        if command.startswith('pip '):
            assert "'imagenet': ['timm" in (ROOT / 'setup.py').read_text()
            continue
        (key,) = [key for key in SMALL if command.startswith(key)]
        found.add(key)
        words = shlex.split(command)
        assert Path(ROOT, words[0] if words[0] != 'python' else words[1]).is_file()
        argv, variables = (words[1:], {}) if words[0] == 'python' else as_torchrun([str(ROOT / words[0]), *words[1:]])
        runs.append((argv + SMALL[key], variables))
    assert found == SMALL.keys()
    logs = []
    for argv, variables in runs:
        status, printed = commands.run(argv, cwd=checkout, log=checkout / 'printed.txt', env=cache | variables)
        assert status == 0, (argv, printed[-4000:])
        logs.append(printed)
    reached = [re.findall(r'^ +top-1.*\n +([0-9.]+)', log, flags=re.MULTILINE) for log in logs]
    assert reached[0] == reached[1]  # the training's last evaluation is that of the file it left
    assert len(reached[1]) == 1
    published = [re.findall(r'([0-9.]+) % published', log) for log in logs]
    assert published[2:4] == [['82.1'], ['87.7']]
    state = torch.load(checkout / 'flowers_timm.pth', weights_only=True)
    assert state.get('state_dict', state)['head.fc.weight'].shape == (5, 8)


def test_the_archives_that_the_page_names_are_those_that_torchvision_wants(tmp_path: Path) -> None:
    (code,) = re.findall(r'`python -c "(.*?)"`', PAGE)
    run = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert run.returncode != 0
    (wanted,) = set(re.findall(r'ILSVRC2012_\w+(?:\.\w+)+(?<!\.)', run.stderr)) & set(
        re.findall(r'ILSVRC2012_\w+(?:\.\w+)+', PAGE)
    )
    assert wanted == 'ILSVRC2012_devkit_t12.tar.gz'
