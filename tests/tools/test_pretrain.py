"""Pre-training from the command line: it learns, leaves pictures, and its file starts a detector's backbone."""

import json
from pathlib import Path

import pytest
from PIL import Image

from mmconvnext.backbones import ConvNeXt
from mmconvnext.checkpoints import load_pretrained
from tests.commands import Commands

TOY = """
_base_ = {base!r}
model = dict(
    backbone=dict(arch=dict(_delete_=True, depths=(1, 1, 2, 1), widths=(8, 8, 16, 16))), decoder_width=32
)
"""


@pytest.mark.slow
def test_pretraining_learns_and_leaves_a_backbone(root: Path, commands: Commands, tmp_path: Path) -> None:
    config = tmp_path / 'fcmae_toy.py'
    config.write_text(TOY.format(base=str(root / 'configs/pretraining/fcmae_convnextv2_atto_1600e.py')))

    def pretrain(epochs: int) -> str:
        words = [root / 'tools/pretrain.py', config, '--mini', '--seed', '0']
        few = ('train_dataloader.dataset.indices=48', 'val_dataloader.dataset.indices=4', 'train_cfg.val_interval=1')
        words += ['--work-dir', 'run', '--cfg-options', f'train_cfg.max_epochs={epochs}', *few]
        status, printed = commands.run(words, cwd=tmp_path, log=tmp_path / 'printed.txt')
        assert status == 0, printed[-6000:]
        return printed

    printed = pretrain(3)
    assert 'paramwise_options' not in printed
    assert 'reconstruction' in printed
    records = [
        json.loads(line)
        for path in sorted(tmp_path.glob('run/*/vis_data/scalars.json'))
        for line in path.read_text().splitlines()
    ]
    losses = [record['reconstruction_loss'] for record in records if 'reconstruction_loss' in record]
    assert len(losses) == 3
    assert losses[-1] < losses[0] < 1.1
    with Image.open(next((tmp_path / 'run/pictures').glob('*.png'))) as picture:
        assert picture.size == (3 * 128, 128)
    backbone = ConvNeXt(dict(depths=(1, 1, 2, 1), widths=(8, 8, 16, 16)), version=2)
    load_pretrained(backbone, tmp_path / 'run/epoch_3.pth')
