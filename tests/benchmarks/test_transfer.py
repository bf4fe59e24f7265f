"""The comparison of starts reads the last evaluation of finished trainings alone."""

import json

import pytest

from benchmarks import transfer


def finished(folder, values, *, curves=True):
    run = folder / '20260101_000000/vis_data'
    run.mkdir(parents=True)
    records = [{'loss': 1.0, 'step': 1}, *({'coco/bbox_mAP': box, 'coco/segm_mAP': 0.5 * box} for box in values)]
    (run / 'scalars.json').write_text(''.join(f'{json.dumps(record)}\n' for record in records) + '{"loss": 1.')
    if curves:
        (folder / 'curves.png').touch()


def test_last_evaluation_of_a_finished_training_counts(tmp_path):
    finished(tmp_path / 'done', [0.1, 0.25])
    assert transfer.last_metrics(tmp_path / 'done') == {'box AP': 25.0, 'mask AP': 12.5}
    finished(tmp_path / 'cut', [0.1], curves=False)
    assert transfer.last_metrics(tmp_path / 'cut') is None


def test_table_has_mean_and_range():
    reached = {'none': [{'box AP': 10.0}, {'box AP': 12.0}], 'a.pth': [{'box AP': 20.0}, {'box AP': 24.0}]}
    assert transfer.table(reached).splitlines() == [
        '| start | box AP |',
        '|---|---|',
        '| none | 11.0 (10.0 to 12.0, 2 seeds) |',
        '| a.pth | 22.0 (20.0 to 24.0, 2 seeds) |',
    ]


@pytest.mark.parametrize('resumed', [False, True])
def test_interrupted_training_goes_on(tmp_path, monkeypatch, resumed):
    commands = []
    monkeypatch.setattr(transfer.subprocess, 'run', lambda command, **_: commands.append(command))
    folder = tmp_path / 'toy_start0_seed0'
    if resumed:
        folder.mkdir()
        (folder / 'last_checkpoint').touch()
    monkeypatch.setattr(
        'sys.argv', ['transfer', 'toy.py', '--start', 'a.pth', '--seeds', '1', '--work-dir', str(tmp_path)]
    )
    with pytest.raises(SystemExit):
        transfer.main()
    (command,) = commands
    assert ('--resume' in command) == resumed
    assert ('--pretrained' in command) != resumed
