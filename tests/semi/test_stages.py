"""Stages run once, go on where they were, and are not mixed with those of other settings."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from mmengine.config import Config

from mmconvnext.errors import UserError
from mmconvnext.semi.stages import Launch, predict, results_of, train

# In place of a training or test: notes how it was started, and leaves the files that those leave
COMMAND = """
import json, sys
from pathlib import Path
module, _, *arguments = sys.argv[1:]
folder = Path(arguments[arguments.index('--work-dir') + 1])
with (folder / 'started').open('a') as file:
    print(*arguments, file=file)
if module.endswith('train'):
    step = 2 if '--resume' in arguments else 1
    (folder / f'iter_{step}.pth').touch()
    log = folder / f'run_{step}/vis_data'
    log.mkdir(parents=True)
    records = [dict(loss=1.0, step=step), {'coco/bbox_mAP': step / 10, 'step': step, 'time': 0.1}]
    (log / 'scalars.json').write_text(''.join(json.dumps(record) + '\\n' for record in records) + '{"lo')
    sys.exit(3 if step == 1 and (folder / 'breaks').exists() else 0)
for kind in ('bbox', 'segm'):
    (folder / f'unfinished.{kind}.json').write_text(json.dumps([kind]))
"""


@dataclass(frozen=True)
class Quick(Launch):
    def command(self, module, *arguments):
        return [sys.executable, '-c', COMMAND, module, *arguments]


@pytest.fixture
def cfg():
    return Config(dict(model=dict(type='A'), lr=1))


def starts(folder):
    return (folder / 'started').read_text().splitlines()


def test_a_finished_training_is_not_run_again(cfg, tmp_path):
    first, again = (train('the teacher', cfg, tmp_path, Quick()) for _ in range(2))
    assert first == again
    assert (first.checkpoint, first.metrics) == (tmp_path / 'iter_1.pth', {'coco/bbox_mAP': 0.1})
    assert starts(tmp_path) == [f'--work-dir {tmp_path} --amp auto']
    assert Config.fromfile(tmp_path.with_suffix('.py')).lr == 1


def test_an_interrupted_training_goes_on(cfg, tmp_path):
    (tmp_path / 'breaks').touch()
    with pytest.raises(UserError) as caught:
        train('the teacher', cfg, tmp_path, Quick(amp='off', auto_scale_lr=True), pretrained='none')
    assert caught.value.facts == dict(stage='the teacher', status=3)
    trained = train('the teacher', cfg, tmp_path, Quick(amp='off', auto_scale_lr=True), pretrained='none')
    assert (trained.checkpoint, trained.metrics) == (tmp_path / 'iter_2.pth', {'coco/bbox_mAP': 0.2})
    shared = f'--work-dir {tmp_path} --amp off --auto-scale-lr'
    assert starts(tmp_path) == [f'{shared} --pretrained none', f'{shared} --resume']


def test_a_folder_of_another_config_is_refused(cfg, tmp_path):
    train('the teacher', cfg, tmp_path, Quick())
    cfg.lr = 2
    with pytest.raises(UserError, match='lr = 2') as caught:
        train('the teacher', cfg, tmp_path, Quick())
    assert caught.value.facts['path'] == tmp_path.with_suffix('.py')


def test_a_checkpoint_that_is_gone_is_named(cfg, tmp_path):
    checkpoint = train('the teacher', cfg, tmp_path, Quick()).checkpoint
    checkpoint.unlink()
    with pytest.raises(UserError) as caught:
        train('the teacher', cfg, tmp_path, Quick())
    assert caught.value.facts['path'] == checkpoint


def test_predictions_are_those_with_masks_and_made_once(cfg, tmp_path):
    assert results_of(tmp_path).parent == tmp_path
    for _ in range(2):
        path = predict('labelling', cfg, tmp_path / 'a.pth', tmp_path, Quick(), tta=True)
    assert json.loads(path.read_text()) == ['segm']
    assert starts(tmp_path) == [f'{tmp_path / "a.pth"} --work-dir {tmp_path} --tta']
    assert not [*tmp_path.glob('unfinished*')]


def test_several_gpus_are_processes_of_torchrun():
    command = Launch(gpus=4).command('mmconvnext.cli.train', 'a.py')
    assert command[:3] == [sys.executable, '-m', 'torch.distributed.run']
    assert '--nproc_per_node=4' in command
    assert command[-5:] == ['-m', 'mmconvnext.cli.train', 'a.py', '--launcher', 'pytorch']
    assert Launch().command('mmconvnext.cli.train', 'a.py') == [sys.executable, '-m', 'mmconvnext.cli.train', 'a.py']


def test_an_end_of_the_run_ends_its_stage_and_what_that_has_started():
    stage = (
        'import os, subprocess, sys, time\n'
        "worker = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        'print(os.getpid(), worker.pid, flush=True)\n'
        'time.sleep(60)\n'
    )
    script = f"import sys; from mmconvnext.semi.stages import _run; _run('stage', [sys.executable, '-c', {stage!r}])"
    with subprocess.Popen([sys.executable, '-c', script], stdout=subprocess.PIPE, text=True) as run:
        started = [int(pid) for pid in run.stdout.readline().split()]
        run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 128 + signal.SIGTERM
    for _ in range(100):
        if not any(is_running(pid) for pid in started):
            break
        time.sleep(0.05)
    assert [pid for pid in started if is_running(pid)] == []


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f'/proc/{pid}/stat')
    return not (stat.exists() and stat.read_text().rpartition(')')[2].split()[0] == 'Z')
