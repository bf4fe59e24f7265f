"""The benchmark of the rivals measures each network once, and the page shows what it measured."""

import argparse
import json

import pytest
import torch

from benchmarks import rivals
from mmconvnext.config.prepare import load_config
from tests.conftest import ROOT
from zoo import rivals as table
from zoo.complexity import Complexity

RESNET, STUDENT = 'mask_rcnn_resnet50_3x', 'mask_rcnn_efficientnet_b0_noisy_student_3x'


@pytest.mark.parametrize(('heads', 'count'), [('mask_rcnn', 1 + 11 + 2), ('upernet', 3 + 11 + 3)])
def test_networks_are_measured_once(heads, count):
    names = [path.stem for path in rivals.chosen(heads)]
    assert len(names) == len(set(names)) == count
    assert not any('noisy_student' in name for name in names)
    assert rivals.chosen(heads, ['resnet50']) == [
        ROOT / f'configs/peers/{heads}_{network}_{"3x" if heads == "mask_rcnn" else "160k"}.py'
        for network in ('bit_resnet50', 'resnet50')
    ]


def test_statistics_of_batch_norm_keep_maps_in_bounds():
    cfg = load_config(ROOT / f'configs/peers/{RESNET}.py', {'model.backbone.model_name': 'resnet18'})
    cfg.model.backbone.output_norm = False
    model = rivals.build(cfg).train()
    before = model.backbone.model.bn1.running_mean.clone()
    maps = model.backbone(torch.randn(2, 3, 64, 96))
    assert all(0.1 < float(feature.detach().std()) < 10 for feature in maps)
    assert before.any()
    assert torch.equal(model.backbone.model.bn1.running_mean, before)  # norm_eval
    assert model.backbone.model.bn1.momentum == 0.1


def test_a_step_of_each_mode(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    args = argparse.Namespace(device='cpu', precision='fp32', batch=2, size=(64, 96))
    for mode in ('inference', 'training'):
        rivals.turn(ROOT / 'configs/peers/mask_rcnn_efficientnet_b0_3x.py', args, mode)()


def test_figures_are_printed_and_written(tmp_path, monkeypatch, capsys):
    out = tmp_path / 'cpu.json'
    measured = {'seconds': 0.25, 'spread': 0.1, 'peak': 2**21}
    result = {'model': 'mask_rcnn', 'mode': 'inference', 'dtype': 'fp32', 'input': [2, 3, 64, 96]}
    monkeypatch.setattr(rivals, 'measure', lambda args, configs, mode: {**result, 'rows': {RESNET: measured}})
    monkeypatch.setattr(rivals.arguments, 'check_memory', lambda: None)
    monkeypatch.setattr('sys.argv', ['rivals', 'mask_rcnn', '--modes', 'inference', '--out', str(out)])
    rivals.main()
    assert capsys.readouterr().out.splitlines()[-1].split() == [RESNET, '250.0', 'ms', '+-', '10%', 'peak', '2', 'MiB']
    (written,) = json.loads(out.read_text())
    assert written['rows'][RESNET] == measured
    assert written['machine']['threads'] == torch.get_num_threads()


def row(name):
    return table.Rival(
        ROOT / f'configs/peers/{name}.py', False, "ConvNeXt's recipe", 'w', 'MIT', Complexity(1, 1), None
    )


def test_page_shows_what_was_measured(tmp_path):
    machine = {'processor': 'CPU', 'threads': 1, 'torch': '2.6'}
    figures = {
        'inference': {RESNET: {'seconds': 0.5, 'spread': 0.02, 'peak': 2**20}},
        'training': {RESNET: {'seconds': 1.5, 'spread': 0.1, 'peak': 3 * 2**20}},
    }
    shared = dict(model='mask_rcnn', dtype='fp32', input=[2, 3, 800, 1344], machine=machine)
    runs = [{**shared, 'mode': mode, 'rows': rows} for mode, rows in figures.items()]
    (tmp_path / 'cpu.json').write_text(json.dumps(runs))
    lines = table.page([row(RESNET), row(STUDENT)], tmp_path).splitlines()
    (measured,) = [line for line in lines if '500.0' in line]
    assert [cell.strip() for cell in measured.split('|')[2:-1]] == ['500.0 (2%)', '1', '1500.0 (10%)', '3']
    assert sum(line.startswith(f'| [{STUDENT}]') for line in lines) == 1  # it was not measured
    empty = table.page([row(RESNET)], tmp_path / 'none')
    assert '500.0' not in empty
    # No number is borrowed: the cells of a recipe without one are empty
    (cost,) = [line for line in empty.splitlines() if line.startswith(f'| [{RESNET}]')]
    assert [cell.strip() for cell in cost.split('|')[-3:-1]] == ['', '']
