import logging

import pytest

from mmconvnext.engine.console import building, errors_as_sentences, leave_listings_to_the_file


def test_errors_end_the_program_with_a_sentence(capsys):
    with pytest.raises(SystemExit) as ended, errors_as_sentences(ValueError):
        raise ValueError('the arch is unknown.')
    assert ended.value.code == 2
    assert capsys.readouterr().err == 'error: the arch is unknown.\n'
    with pytest.raises(KeyError), errors_as_sentences(ValueError):
        raise KeyError('a bug keeps its traceback')


@pytest.mark.parametrize(
    ('error', 'words'),
    [
        (KeyError('Foo is not known'), 'the config cannot be built: the neck: KeyError: Foo is not known '),
        (AttributeError('no get'), 'AttributeError: no get '),
        (TypeError(), 'TypeError: raise error in test_console.py '),
    ],
)
def test_error_of_building_becomes_a_sentence(error, words):
    with pytest.raises(ValueError, match=f'{words}.*MMCONVNEXT_TRACEBACK=1') as raised, building('the neck'):
        raise error
    assert raised.value.__cause__ is error


def test_error_of_building_that_is_a_sentence_already_stays():
    with pytest.raises(ValueError, match=r'^the arch is unknown\.$'), building('the neck'):
        raise ValueError('the arch is unknown.')


def test_listings_stay_in_the_file(tmp_path, capsys):
    logger = logging.Logger('test')
    logger.addHandler(logging.StreamHandler())
    logger.addHandler(logging.FileHandler(tmp_path / 'log'))
    leave_listings_to_the_file(logger)
    logger.info('Config:\nmodel = dict()')
    logger.info('step 1')
    assert capsys.readouterr().err == 'step 1\n'
    assert (tmp_path / 'log').read_text() == 'Config:\nmodel = dict()\nstep 1\n'


def test_traceback_stays_where_it_is_asked_for(monkeypatch):
    monkeypatch.setenv('MMCONVNEXT_TRACEBACK', '1')
    with pytest.raises(ValueError, match='unknown'), errors_as_sentences(ValueError):
        raise ValueError('the arch is unknown.')
