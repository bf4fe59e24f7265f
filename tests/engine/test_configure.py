"""What prepare.py adds to a config for training and for testing."""

import os
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict

from mmconvnext.checkpoints import CheckpointError
from mmconvnext.engine import scale_down
from mmconvnext.engine.config import find_backbone
from mmconvnext.engine.prepare import configure_test, configure_training, latest_checkpoint, prepare
from mmconvnext.errors import UserError
from tests.conftest import ROOT


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scale_down, 'TRAIN_IMAGES', 8)
    monkeypatch.setattr(scale_down, 'VAL_IMAGES', 4)
    files = {
        'detector': 'detection/mask_rcnn_convnext_t_3x.py',
        'segmentor': 'segmentation/upernet_convnext_t_160k.py',
    }

    def make(kind='detector', **options):
        path = str(ROOT / 'configs' / files[kind])
        return prepare(path, use_mini=True, work_dir=str(tmp_path / 'work'), cfg_options=options)

    return make


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / 'x.pth'
    path.touch()
    return str(path)


def init_cfg(cfg):
    return find_backbone(cfg.model).init_cfg


def test_pretrained_none_in_any_case(make):
    for name in ('none', 'None', 'NONE'):
        cfg = make()
        configure_training(cfg, pretrained=name)
        assert init_cfg(cfg) is None
    configure_training(cfg, pretrained='None.pth')
    assert init_cfg(cfg).checkpoint == 'None.pth'
    with pytest.raises(ValueError, match='--pretrained is empty'):
        configure_training(cfg, pretrained='')


def test_pretrained_beside_a_whole_checkpoint_is_a_contradiction(make, checkpoint):
    with pytest.raises(ValueError, match=r'--resume .*x\.pth is a checkpoint of the whole model.* a\.pth; give one'):
        configure_training(make(), pretrained='a.pth', resume=checkpoint)
    with pytest.raises(ValueError, match=r'load_from=.*x\.pth is a checkpoint of the whole model'):
        configure_training(make(load_from=checkpoint), pretrained='a.pth')


def test_auto_resume_begins_from_pretrained_weights_and_goes_on_from_its_own(make, tmp_path):
    cfg = make()
    configure_training(cfg, pretrained='a.pth', resume='auto')  # as a job does that is queued again when interrupted
    assert (cfg.resume, cfg.load_from, init_cfg(cfg).checkpoint) == (False, None, 'a.pth')
    torch.save({'state_dict': {}}, tmp_path / 'work' / 'epoch_1.pth')
    configure_training(cfg, pretrained='a.pth', resume='auto')
    assert (cfg.resume, cfg.load_from) == (True, str(tmp_path / 'work' / 'epoch_1.pth'))
    assert init_cfg(cfg) is None


def test_missing_load_from_is_said_before_training(make):
    with pytest.raises(CheckpointError, match=r'there is no checkpoint nowhere\.pth'):
        configure_training(make(load_from='nowhere.pth'))


def test_resume_by_cfg_options_is_that_of_the_command_line(make, checkpoint):
    cfg = make(resume=True, load_from=checkpoint)
    configure_training(cfg)
    assert (cfg.resume, cfg.load_from, init_cfg(cfg)) == (True, checkpoint, None)


@pytest.mark.parametrize(('resume', 'words'), [('nowhere.pth', 'there is no checkpoint'), ('', 'is a folder')])
def test_resume_of_nothing(make, resume, words):
    with pytest.raises(ValueError, match=words):
        configure_training(make(), resume=resume)


def test_resume_in_the_home_folder(make, checkpoint, monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    cfg = make()
    configure_training(cfg, resume='~/x.pth')
    assert cfg.load_from == checkpoint


def test_latest_checkpoint_of_a_moved_work_directory(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    for name in ('epoch_2.pth', 'epoch_10.pth', 'epoch_9.pth', 'best_coco_bbox_mAP_epoch_11.pth'):
        (tmp_path / name).touch()
    assert latest_checkpoint(tmp_path).name == 'epoch_10.pth'
    note = tmp_path / 'last_checkpoint'
    note.write_text('/where/it/was/epoch_9.pth')
    assert latest_checkpoint(tmp_path) == tmp_path / 'epoch_9.pth'
    note.write_text('/where/it/was/epoch_12.pth')
    assert latest_checkpoint(tmp_path) == tmp_path / 'epoch_10.pth'
    elsewhere = tmp_path / 'elsewhere' / 'epoch_12.pth'
    elsewhere.parent.mkdir()
    elsewhere.touch()
    note.write_text(str(elsewhere))
    assert latest_checkpoint(tmp_path) == elsewhere


@pytest.mark.parametrize('size', [0, 200])
@pytest.mark.parametrize('rank', ['0', '1'])
def test_auto_resume_passes_over_a_damaged_checkpoint(make, tmp_path, monkeypatch, capsys, size, rank):
    monkeypatch.setenv('LOCAL_RANK', rank)  # all ranks must choose the same
    work = tmp_path / 'work'
    cfg = make()
    work.mkdir(exist_ok=True)
    for number in (1, 2):
        torch.save({'state_dict': {'x': torch.randn(100)}}, work / f'epoch_{number}.pth')
    (work / 'last_checkpoint').write_text(str(work / 'epoch_2.pth'))
    whole = (work / 'epoch_2.pth').read_bytes()
    flipped = whole[:size] + bytes([whole[size] ^ 1]) + whole[size + 1 :] if size else b''
    (work / 'epoch_2.pth').write_bytes(whole[:size])
    configure_training(cfg, resume='auto')
    assert cfg.load_from == str(work / 'epoch_1.pth')
    assert 'epoch_2.pth' in capsys.readouterr().out
    (work / 'epoch_2.pth').write_bytes(flipped)
    (work / 'epoch_1.pth').write_bytes(b'')
    with pytest.raises(UserError) as error:
        configure_training(make(), resume='auto')
    assert error.value.facts['passed_over'] == [work / 'epoch_2.pth', work / 'epoch_1.pth']
    assert not re.search('delete|download', str(error.value), re.IGNORECASE)


def test_work_directory_that_cannot_be(make, checkpoint, monkeypatch):
    cfg = make()
    cfg.work_dir = checkpoint
    with pytest.raises(ValueError, match=r'the work directory .*x\.pth cannot be made: File exists'):
        configure_training(cfg)
    cfg.work_dir = f'{checkpoint}/deeper'
    with pytest.raises(ValueError, match='cannot be made: Not a directory'):
        configure_test(cfg, checkpoint)
    monkeypatch.setattr(os, 'access', lambda path, mode: False)
    with pytest.raises(ValueError, match='cannot be written to: permission denied'):
        configure_training(make())


def test_training_without_validation_needs_no_validation_data(make):
    cfg = make()
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    configure_training(cfg, pretrained='none')
    cfg.train_dataloader.dataset.ann_file = 'nowhere.json'
    with pytest.raises(ValueError, match=r'nowhere\.json'):
        configure_training(cfg)


def test_out_of_a_detector_is_written_beside_and_then_renamed(make, checkpoint, tmp_path):
    cfg = make()
    out = tmp_path / 'new' / 'x.pkl'
    configure_test(cfg, checkpoint, out=str(out))
    metric, dump = cfg.test_evaluator
    assert metric.type == 'CocoMetric'
    assert Path(dump.out_file_path) == out.with_name('x.unfinished.pkl')
    assert cfg.run_hooks[-1] == dict(type='FinishedFileHook', unfinished=dump.out_file_path, finished=str(out))
    assert out.parent.is_dir()


@pytest.mark.parametrize(
    ('kind', 'out', 'words'),
    [
        ('detector', 'x', 'ends in .pkl'),
        ('detector', 'folder.pkl', 'ends in .pkl'),
        ('detector', 'x.pth/y.pkl', '--out: the folder .* cannot be made'),
        ('segmentor', 'x.pkl', 'the name of a folder'),
        ('segmentor', 'x.pth', '--out .* cannot be made: File exists'),
    ],
)
def test_out_of_the_wrong_kind(make, checkpoint, tmp_path, kind, out, words):
    (tmp_path / 'folder.pkl').mkdir()
    with pytest.raises(ValueError, match=words):
        configure_test(make(kind), checkpoint, out=str(tmp_path / out))


def test_label_maps_need_no_evaluator_of_a_kind(make, checkpoint, tmp_path):
    cfg = make('segmentor')
    cfg.test_evaluator = [ConfigDict(type='Other')]
    configure_test(cfg, checkpoint, out=str(tmp_path / 'maps'))
    assert cfg.run_hooks[-1] == dict(type='LabelMapsHook', folder=str(tmp_path / 'maps'))


@pytest.mark.parametrize('only', [False, True])
def test_label_maps_of_an_evaluator_are_named_by_path(make, checkpoint, tmp_path, only):
    cfg = make('segmentor')
    cfg.test_evaluator = ConfigDict(type='IoUMetric', format_only=only, output_dir=str(tmp_path / 'maps'))
    configure_test(cfg, checkpoint)
    assert cfg.run_hooks[-1] == dict(type='LabelMapsHook', folder=str(tmp_path / 'maps'))
    assert [evaluator.output_dir for evaluator in cfg.test_evaluator] == ([] if only else [None])


def test_show_dir_that_is_a_file(make, checkpoint):
    with pytest.raises(ValueError, match=r'--show-dir .*x\.pth cannot be made: File exists'):
        configure_test(make(), checkpoint, show_dir=checkpoint)
