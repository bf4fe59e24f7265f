"""What is left of files that cannot be written whole."""

import errno
import logging

import pytest

from mmconvnext.errors import UserError
from mmconvnext.runner.saving import LateRemoval, say_once_if_full
from mmconvnext.whole_files import written_whole


def test_half_a_file_is_not_left_and_the_one_from_before_is(tmp_path, largest_file):
    path = tmp_path / 'epoch_1.pth'
    path.write_bytes(b'good')
    with pytest.raises(UserError, match='ulimit') as error, largest_file(1000), written_whole(path) as part:
        part.write_bytes(bytes(10**6))
    assert error.value.facts['path'] == path
    assert error.value.__cause__.errno == errno.EFBIG
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [('epoch_1.pth', b'good')]
    with written_whole(path) as part:
        part.write_bytes(b'new')
        assert part.suffix == '.pth'
        assert path.read_bytes() == b'good'
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [('epoch_1.pth', b'new')]


def test_file_is_removed_later_unless_it_was_written_anew(tmp_path):
    backend = LateRemoval()
    for name in ('old', 'again', 'gone'):
        (tmp_path / name).write_text('1')
        backend.remove(tmp_path / name)
    assert len([*tmp_path.iterdir()]) == 3
    with written_whole(tmp_path / 'again') as part:
        part.write_text('2')
    (tmp_path / 'gone').unlink()
    backend.remove_outdated()
    assert [path.name for path in tmp_path.iterdir()] == ['again']


def test_log_file_that_is_full_is_said_once(tmp_path, largest_file, capsys):
    logger = logging.Logger('full')
    logger.addHandler(logging.FileHandler(tmp_path / 'run.log'))
    say_once_if_full(logger)
    with largest_file(1000):
        for _ in range(3):
            logger.info('x' * 900)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert str(tmp_path / 'run.log') in lines[0]
