import pytest
import torch
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmengine.registry import MODELS, init_default_scope

from mmconvnext.errors import UserError, errors_as_sentences, explain_refusals


def test_errors_of_the_user_end_the_program_with_a_sentence(capsys):
    with pytest.raises(SystemExit) as ended, errors_as_sentences():
        raise UserError('the arch is unknown.')
    assert ended.value.code == 2
    assert capsys.readouterr().err == 'error: the arch is unknown.\n'


@pytest.mark.parametrize('error', [KeyError('x'), ValueError('x'), TypeError('x'), OSError('x')])
def test_a_bug_keeps_its_traceback(error):
    with pytest.raises(type(error)), errors_as_sentences():
        raise error


def test_a_file_that_the_system_refuses_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit), errors_as_sentences():
        (tmp_path / 'nowhere/file').read_text()
    assert str(tmp_path / 'nowhere/file') in capsys.readouterr().err


def test_a_file_for_which_there_is_no_room_is_named(tmp_path, capsys, largest_file):
    """The system's error names no file, so it was a traceback."""
    with pytest.raises(SystemExit), errors_as_sentences(), largest_file(10), (tmp_path / 'log').open('wb') as file:
        file.write(bytes(10**6))
    assert str(tmp_path / 'log') in capsys.readouterr().err


@pytest.mark.parametrize('variable', ['RANK', 'SLURM_PROCID'])
def test_of_several_processes_one_speaks(monkeypatch, capsys, variable):
    monkeypatch.setenv(variable, '1')
    with pytest.raises(SystemExit) as ended, errors_as_sentences():
        raise UserError('the arch is unknown.')
    assert (ended.value.code, capsys.readouterr().err) == (2, '')


@MODELS.register_module()
class Demanding(BaseModule):
    """What MMEngine cannot build with every config."""

    def __init__(self, error=None):
        super().__init__()
        if error == 'assert':
            build_norm_layer('not a dictionary', 8)
        elif error == 'wrong call':
            torch.empty('three')
        elif error:
            raise error


@pytest.mark.parametrize(
    ('cfg', 'kind'),
    [
        (dict(type='Nonexistent'), 'KeyError'),
        (dict(type='FPN', in_channels=3), 'TypeError'),
        (dict(type='FPN', in_channels='x', out_channels=3, num_outs=4), 'AssertionError'),
        (dict(type='Demanding', error='assert'), 'TypeError'),
    ],
)
def test_what_openmmlab_refuses_is_a_sentence(cfg, kind):
    init_default_scope('mmdet')
    with (
        pytest.raises(UserError, match=rf'the neck: {kind}: \S.*MMCONVNEXT_TRACEBACK=1') as raised,
        explain_refusals('the neck'),
    ):
        MODELS.build(cfg)
    assert type(raised.value.__cause__).__name__ == kind


@pytest.mark.parametrize('error', [KeyError('x'), TypeError('x'), AttributeError(), ValueError('x'), 'wrong call'])
def test_a_bug_of_this_package_is_not_the_configs_fault(monkeypatch, error):
    monkeypatch.setitem(globals(), '__name__', 'mmconvnext.planted')  # its frames count as this package's
    kind = TypeError if isinstance(error, str) else type(error)
    with pytest.raises(kind) as raised, explain_refusals('the neck'):
        MODELS.build(dict(type='Demanding', error=error))
    assert not isinstance(raised.value, UserError)


def test_a_sentence_stays_as_it_is():
    with pytest.raises(UserError, match=r'^the arch is unknown\.$'), explain_refusals('the neck'):
        raise UserError('the arch is unknown.')


def test_traceback_stays_where_it_is_asked_for(monkeypatch):
    monkeypatch.setenv('MMCONVNEXT_TRACEBACK', '1')
    with pytest.raises(UserError, match='unknown'), errors_as_sentences():
        raise UserError('the arch is unknown.')
