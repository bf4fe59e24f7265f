import os
import socket
import subprocess
import textwrap

import pytest
from mmengine.config import Config

from mmconvnext.config import processes
from mmconvnext.errors import UserError

SCRIPT = textwrap.dedent("""
    import os
    from mmengine.config import Config
    from mmconvnext.config import processes
    from mmconvnext.errors import errors_as_sentences
    from mmconvnext.errors import UserError

    def refuse():
        raise UserError('the data is damaged')

    processes.join(Config(dict(launcher='pytorch', env_cfg=dict(dist_cfg=dict(backend='gloo')))))
    print(processes.on_first(lambda: {'copy': os.environ['RANK']}))
    with errors_as_sentences():
        processes.on_first(refuse)
""")


def test_the_first_of_several_processes_works_for_all_and_ends_all(tmp_path, python):
    (tmp_path / 'script.py').write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    place = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), WORLD_SIZE='2', CUDA_VISIBLE_DEVICES='')
    started = [
        subprocess.Popen(
            [python, str(tmp_path / 'script.py')],
            env={**os.environ, **place, 'RANK': str(rank), 'LOCAL_RANK': str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=120) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [2, 2]
    assert [out for out, _ in outputs] == ["{'copy': '0'}\n"] * 2
    assert ['the data is damaged' in err for _, err in outputs] == [True, False]
    assert not any('Traceback' in err for _, err in outputs)


def test_one_process_works_for_itself():
    cfg = Config(dict(launcher='none'))
    processes.join(cfg)
    assert processes.on_first(lambda: 3) == 3


def test_what_a_launcher_did_not_set_is_named(monkeypatch):
    for name in processes.LAUNCHERS['pytorch'][0]:
        monkeypatch.setenv(name, '0')
    monkeypatch.delenv('MASTER_PORT')
    with pytest.raises(UserError, match='torchrun') as error:
        processes.join(Config(dict(launcher='pytorch')))
    assert error.value.facts['missing'] == ['MASTER_PORT']
