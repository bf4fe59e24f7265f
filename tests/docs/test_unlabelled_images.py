"""The commands of docs/unlabelled_images.md on Noisy Student do what the page says."""

import json
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from pycocotools.coco import COCO

from mmconvnext.cli import noisy_student as command
from mmconvnext.cli import train
from mmconvnext.config.prepare import configure
from mmconvnext.datasets import mini
from mmconvnext.semi import noisy_student, stage_configs
from tests.conftest import ROOT

PAGE = (ROOT / 'docs/unlabelled_images.md').read_text(encoding='utf-8')
BLOCKS = re.findall(r'^```\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [
    shlex.split(line)[1:]
    for block in BLOCKS
    for line in block.replace('\\\n', ' ').splitlines()
    if line.startswith('python tools/')
]
NARROW = (
    *('neck.out_channels', 'rpn_head.in_channels', 'rpn_head.feat_channels'),
    *('roi_head.bbox_roi_extractor.out_channels', 'roi_head.mask_roi_extractor.out_channels'),
    *('roi_head.bbox_head.in_channels', 'roi_head.bbox_head.fc_out_channels'),
    *('roi_head.mask_head.in_channels', 'roi_head.mask_head.conv_out_channels'),
)
TOY = (
    'model.backbone.arch={"depths":(1,1,1,1),"widths":(8,8,16,16)}',
    *(f'model.{name}=16' for name in NARROW),
)


def of(tool):
    """The commands of a tool, without its name."""
    return [words[1:] for words in COMMANDS if words[0] == f'tools/{tool}.py']


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the page's commands find the configs, and a small COCO."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    mini.write_mini(tmp_path / 'made', train_images=20, val_images=2, image_size=(64, 96))
    shutil.copytree(tmp_path / 'made/coco', tmp_path / 'data/coco')
    (tmp_path / 'path/to').mkdir(parents=True)
    (tmp_path / 'path/to/coco').symlink_to(tmp_path / 'data/coco')
    return tmp_path


def run(monkeypatch, tool, arguments):
    monkeypatch.setattr(sys, 'argv', [tool, *arguments])
    runpy.run_path(str(ROOT / f'tools/{tool}.py'), run_name='__main__')


def test_the_page_has_the_commands():
    assert (len(of('split_labels')), len(of('train')), len(of('noisy_student'))) >= (1, 1, 3)


def test_the_labelled_share(folder, monkeypatch):
    run(monkeypatch, 'split_labels', *of('split_labels'))
    for name, count in (('', 2), ('-unlabeled', 18)):
        content = json.loads((folder / f'data/coco/semi_anns/instances_train2017.1@10{name}.json').read_text())
        assert len(content['images']) == count
    monkeypatch.setattr(sys, 'argv', ['train.py', *of('train')[0]])
    cfg, _ = configure(train.parse_args().config)
    assert Path(cfg.train_dataloader.dataset.data_root, cfg.train_dataloader.dataset.ann_file).is_file()


@pytest.mark.parametrize('arguments', [words for words in of('noisy_student') if '--mini' not in words])
def test_a_run_on_coco_is_planned(folder, monkeypatch, arguments):
    run(monkeypatch, 'split_labels', *of('split_labels'))
    monkeypatch.setattr(sys, 'argv', ['noisy_student.py', *arguments])
    args = command.parse_args()
    plan = noisy_student.make_plan(args.config, students=args.students, data_root=args.data_root)
    assert len(plan.students) == 2
    count = stage_configs.write_unlabelled(plan.teacher, plan.settings, folder / 'unlabelled.json')
    assert count == 18
    archs = []
    for student in plan.students:
        cfg = stage_configs.train_on(student, plan.settings, folder / 'unlabelled.json')
        archs.append(cfg.model.backbone.arch)
        for dataset in cfg.train_dataloader.dataset.datasets:
            dataset = dataset.get('dataset', dataset)
            assert Path(dataset.data_root, dataset.ann_file).is_file()
    assert archs == ['tiny', 'small' if args.students else 'tiny']


@pytest.mark.slow
def test_one_command_does_all_rounds_and_goes_on(folder, monkeypatch, capfd):
    (arguments,) = (words for words in of('noisy_student') if '--mini' in words)
    # Few images are labelled and evaluated, and few steps trained; the path is the same
    listed = json.loads((folder / 'data/coco/annotations/instances_train2017.json').read_text())
    listed['images'] = [dict(image, width=256, height=192) for image in listed['images'][:8]]
    (folder / 'few.json').write_text(json.dumps(listed | dict(annotations=[])))
    few = ('train_cfg.max_iters=6', 'val_dataloader.dataset.indices=2', 'noisy_student.rounds=1')
    few += ('noisy_student.score_thr=0.01', f'noisy_student.unlabelled.ann_file={folder}/few.json')
    arguments = [*arguments, '--seed', '0', '--cfg-options', *TOY, *few]
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    run(monkeypatch, 'noisy_student', arguments)
    work_dir = folder / 'work_dirs/noisy_student_mask_rcnn_convnext_t_10p_mini'
    printed = capfd.readouterr().out
    last = printed.splitlines()[-2:]
    assert [line.split()[0] for line in last] == ['teacher', 'student']
    assert [Path(line.split()[-1]) for line in last] == [
        Path('work_dirs') / work_dir.name / place / 'iter_6.pth' for place in ('teacher', 'round_1/student')
    ]
    truth = COCO(str(work_dir / 'round_1/pseudo_labels.json'))
    assert truth.getImgIds()
    assert all(annotation['score'] >= 0.01 for annotation in truth.loadAnns(truth.getAnnIds()))
    cfg = Config.fromfile(work_dir / 'round_1/student.py')
    assert cfg.train_dataloader.dataset.datasets[1].dataset.ann_file == str(work_dir / 'round_1/pseudo_labels.json')
    assert cfg.randomness.seed == 0

    before = {path: path.stat().st_mtime_ns for path in work_dir.rglob('*') if path.name != 'unlabelled.json'}
    run(monkeypatch, 'noisy_student', arguments)  # nothing is left to do
    assert capfd.readouterr().out.splitlines()[-2:] == last
    after = {path: path.stat().st_mtime_ns for path in work_dir.rglob('*') if path.name != 'unlabelled.json'}
    assert {path for path in before if before[path] != after.get(path)} <= {work_dir}
