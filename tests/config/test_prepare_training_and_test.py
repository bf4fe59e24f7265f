"""What prepare.py adds to a config for training and for testing."""

import json
import os
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import ConfigDict

from mmconvnext.checkpoints import CheckpointError
from mmconvnext.config import mini_recipe
from mmconvnext.config.backbone import find_backbone
from mmconvnext.config.prepare import prepare, prepare_test, prepare_training
from mmconvnext.config.resume import checkpoints_in
from mmconvnext.errors import UserError
from tests.conftest import ROOT


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mini_recipe, 'TRAIN_IMAGES', 8)
    monkeypatch.setattr(mini_recipe, 'VAL_IMAGES', 4)
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


def init_cfg(run):
    return find_backbone(run.cfg.model).init_cfg


def test_pretrained_none_in_any_case(make):
    for name in ('none', 'None', 'NONE'):
        run = make()
        prepare_training(run, pretrained=name)
        assert init_cfg(run) is None
    prepare_training(run, pretrained='None.pth')
    assert init_cfg(run).checkpoint == 'None.pth'
    with pytest.raises(UserError, match='--pretrained'):
        prepare_training(run, pretrained='')


def test_pretrained_beside_a_whole_checkpoint_is_a_contradiction(make, checkpoint):
    with pytest.raises(UserError) as error:
        prepare_training(make(), pretrained='a.pth', resume=checkpoint)
    assert error.value.facts == dict(whole=f'--resume {checkpoint}', pretrained='a.pth')
    with pytest.raises(UserError) as error:
        prepare_training(make(load_from=checkpoint), pretrained='a.pth')
    assert error.value.facts == dict(whole=f'load_from={checkpoint}', pretrained='a.pth')


def test_auto_resume_begins_from_pretrained_weights_and_goes_on_from_its_own(make, tmp_path):
    run = make()
    prepare_training(run, pretrained='a.pth', resume='auto')  # as a job does that is queued again when interrupted
    assert (run.cfg.resume, run.cfg.load_from, init_cfg(run).checkpoint) == (False, None, 'a.pth')
    torch.save({'state_dict': {}}, tmp_path / 'work' / 'epoch_1.pth')
    prepare_training(run, pretrained='a.pth', resume='auto')
    assert (run.cfg.resume, run.cfg.load_from) == (True, str(tmp_path / 'work' / 'epoch_1.pth'))
    assert init_cfg(run) is None


def test_missing_load_from_is_said_before_training(make):
    with pytest.raises(CheckpointError, match=r'nowhere\.pth'):
        prepare_training(make(load_from='nowhere.pth'))


def test_resume_by_cfg_options_is_that_of_the_command_line(make, checkpoint):
    run = make(resume=True, load_from=checkpoint)
    prepare_training(run)
    assert (run.cfg.resume, run.cfg.load_from, init_cfg(run)) == (True, checkpoint, None)


@pytest.mark.parametrize('resume', ['nowhere.pth', ''])
def test_resume_of_nothing(make, resume):
    with pytest.raises(UserError) as error:
        prepare_training(make(), resume=resume)
    assert error.value.facts == dict(path=Path(resume))


def test_resume_in_the_home_folder(make, checkpoint, monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    run = make()
    prepare_training(run, resume='~/x.pth')
    assert run.cfg.load_from == checkpoint


def test_latest_checkpoint_of_a_moved_work_directory(tmp_path):
    assert checkpoints_in(tmp_path) == []
    for name in ('epoch_2.pth', 'epoch_10.pth', 'epoch_9.pth', 'best_coco_bbox_mAP_epoch_11.pth'):
        (tmp_path / name).touch()
    assert checkpoints_in(tmp_path)[0].name == 'epoch_10.pth'
    note = tmp_path / 'last_checkpoint'
    note.write_text('/where/it/was/epoch_9.pth')
    assert checkpoints_in(tmp_path)[0] == tmp_path / 'epoch_9.pth'
    note.write_text('/where/it/was/epoch_12.pth')
    assert checkpoints_in(tmp_path)[0] == tmp_path / 'epoch_10.pth'
    elsewhere = tmp_path / 'elsewhere' / 'epoch_12.pth'
    elsewhere.parent.mkdir()
    elsewhere.touch()
    note.write_text(str(elsewhere))
    assert checkpoints_in(tmp_path)[0] == elsewhere


@pytest.mark.parametrize('size', [0, 200])
@pytest.mark.parametrize('rank', ['0', '1'])
def test_auto_resume_passes_over_a_damaged_checkpoint(make, tmp_path, monkeypatch, capsys, size, rank):
    monkeypatch.setenv('LOCAL_RANK', rank)  # all ranks must choose the same
    work = tmp_path / 'work'
    run = make()
    work.mkdir(exist_ok=True)
    for number in (1, 2):
        torch.save({'state_dict': {'x': torch.randn(100)}}, work / f'epoch_{number}.pth')
    (work / 'last_checkpoint').write_text(str(work / 'epoch_2.pth'))
    whole = (work / 'epoch_2.pth').read_bytes()
    flipped = whole[:size] + bytes([whole[size] ^ 1]) + whole[size + 1 :] if size else b''
    (work / 'epoch_2.pth').write_bytes(whole[:size])
    prepare_training(run, resume='auto')
    assert run.cfg.load_from == str(work / 'epoch_1.pth')
    assert 'epoch_2.pth' in capsys.readouterr().out
    (work / 'epoch_2.pth').write_bytes(flipped)
    (work / 'epoch_1.pth').write_bytes(b'')
    with pytest.raises(UserError) as error:
        prepare_training(make(), resume='auto')
    assert error.value.facts['unreadable'] == [work / 'epoch_2.pth', work / 'epoch_1.pth']
    assert not re.search('delete|download', str(error.value), re.IGNORECASE)


def test_work_directory_that_cannot_be(make, checkpoint, monkeypatch):
    run = make()
    run.cfg.work_dir = checkpoint
    with pytest.raises(UserError) as error:
        prepare_training(run)
    assert error.value.facts == dict(folder=checkpoint)
    run.cfg.work_dir = f'{checkpoint}/deeper'
    with pytest.raises(UserError) as error:
        prepare_test(run, checkpoint)
    assert error.value.facts == dict(folder=f'{checkpoint}/deeper')
    monkeypatch.setattr(os, 'access', lambda path, mode: False)
    run = make()
    with pytest.raises(UserError) as error:
        prepare_training(run)
    assert error.value.facts == dict(folder=run.cfg.work_dir)


def test_training_without_validation_needs_no_validation_data(make):
    run = make()
    run.cfg.val_dataloader = run.cfg.val_cfg = run.cfg.val_evaluator = None
    prepare_training(run, pretrained='none')
    run.cfg.train_dataloader.dataset.ann_file = 'nowhere.json'
    with pytest.raises(ValueError, match=r'nowhere\.json'):
        prepare_training(run)


def test_out_of_a_detector_is_written_beside_and_then_renamed(make, checkpoint, tmp_path):
    run = make()
    out = tmp_path / 'new' / 'x.pkl'
    prepare_test(run, checkpoint, out=str(out))
    metric, dump = run.cfg.test_evaluator
    assert metric.type == 'CocoMetric'
    assert Path(dump.out_file_path) == out.with_name('x.unfinished.pkl')
    assert run.hooks[-1] == dict(type='FinishedFileHook', unfinished=dump.out_file_path, finished=str(out))
    assert out.parent.is_dir()


@pytest.mark.parametrize(
    ('kind', 'out'),
    [
        ('detector', 'x'),
        ('detector', 'folder.pkl'),
        ('detector', 'x.pth/y.pkl'),
        ('segmentor', 'x.pkl'),
        ('segmentor', 'x.pth'),
    ],
)
def test_out_of_the_wrong_kind(make, checkpoint, tmp_path, kind, out):
    (tmp_path / 'folder.pkl').mkdir()
    with pytest.raises(UserError, match='--out'):
        prepare_test(make(kind), checkpoint, out=str(tmp_path / out))


def test_label_maps_need_no_evaluator_of_a_kind(make, checkpoint, tmp_path):
    run = make('segmentor')
    run.cfg.test_evaluator = [ConfigDict(type='Other')]
    prepare_test(run, checkpoint, out=str(tmp_path / 'maps'))
    assert run.hooks[-1] == dict(type='LabelMapsHook', folder=str(tmp_path / 'maps'))


@pytest.mark.parametrize('only', [False, True])
def test_label_maps_of_an_evaluator_are_named_by_path(make, checkpoint, tmp_path, only):
    run = make('segmentor')
    run.cfg.test_evaluator = ConfigDict(type='IoUMetric', format_only=only, output_dir=str(tmp_path / 'maps'))
    prepare_test(run, checkpoint)
    assert run.hooks[-1] == dict(type='LabelMapsHook', folder=str(tmp_path / 'maps'))
    assert [evaluator.output_dir for evaluator in run.cfg.test_evaluator] == ([] if only else [None])


def test_show_dir_that_is_a_file(make, checkpoint):
    with pytest.raises(UserError, match='--show-dir') as error:
        prepare_test(make(), checkpoint, show_dir=checkpoint)
    assert error.value.facts == dict(folder=checkpoint)


def test_tta_wraps_a_segmentor_and_is_refused_for_a_detector(make, checkpoint):
    run = make('segmentor')
    for _ in range(2):  # the second time as from a config that a test with --tta saved
        prepare_test(run, checkpoint, tta=True)
        cfg = run.cfg
        assert (cfg.model.type, cfg.model.module.type) == ('SegTTAModel', 'EncoderDecoder')
        assert cfg.model.module.test_cfg.mode == 'whole'
        assert cfg.test_dataloader.dataset.pipeline[-1].type == 'TestTimeAug'
    with pytest.raises(UserError):
        prepare_test(make(), checkpoint, tta=True)


def test_what_the_mini_data_has_by_design_is_not_said(make, capsys, tmp_path):
    """Its crowds looked like a fault on the first screen that a newcomer sees."""
    prepare_training(make())
    assert capsys.readouterr().out == ''
    path = tmp_path / 'data/mini/coco/annotations/instances_train2017.json'
    content = json.loads(path.read_text())
    content['annotations'][0]['bbox'] = [-500, -500, 5, 5]
    path.write_text(json.dumps(content))
    prepare_training(make())
    said = capsys.readouterr().out
    assert 'crowds' in said
    assert path.name in said


def test_checkpoint_that_is_noted_but_gone_is_said(make, tmp_path, capsys):
    """Training started from the beginning as if there had been none."""
    work = tmp_path / 'work'
    work.mkdir()
    (work / 'last_checkpoint').write_text('/gone/epoch_9.pth')
    prepare_training(make(), resume='auto')
    assert '/gone/epoch_9.pth' in capsys.readouterr().out
    torch.save({'state_dict': {}}, work / 'epoch_8.pth')
    run = make()
    prepare_training(run, resume='auto')
    printed = capsys.readouterr().out
    assert '/gone/epoch_9.pth' in printed
    assert 'epoch_8.pth' in printed
    assert run.cfg.load_from == str(work / 'epoch_8.pth')
