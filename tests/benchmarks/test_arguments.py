import argparse

import pytest

from benchmarks import arguments


def test_sizes_are_height_and_width() -> None:
    assert arguments.size('800x1344') == (800, 1344)
    assert arguments.size('320') == (320, 320)


@pytest.mark.parametrize('text', ['foo', '16', '800x', '64x31', '-64', ''])
def test_a_wrong_size_says_what_is_right(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match='must be HEIGHT or HEIGHTxWIDTH, such as 800x1344, of 32'):
        arguments.size(text)


@pytest.mark.parametrize('text', ['0', '-1', '1.5', 'many'])
def test_a_wrong_count_says_what_is_right(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match='must be a whole number, 1 or more'):
        arguments.count(text)


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ('[{', 'cannot be read as JSON'),
        ('{}', 'holds no list of results'),
        ('[1]', 'holds no list of results'),
        ('[{"model": "tiny"}]', 'holds no list of results'),
    ],
)
def test_a_broken_file_of_results_is_refused_before_measuring(content: str, words: str, tmp_path) -> None:
    path = tmp_path / 'results.json'
    assert arguments.results(str(path)) == path
    path.write_text(content)
    with pytest.raises(argparse.ArgumentTypeError, match=words):
        arguments.results(str(path))


def test_a_place_that_cannot_hold_results_is_refused_before_measuring(tmp_path) -> None:
    assert arguments.results(str(tmp_path / 'new' / 'results.json')) == tmp_path / 'new' / 'results.json'
    (tmp_path / 'file').touch()
    with pytest.raises(argparse.ArgumentTypeError, match='file is no folder that can be written to'):
        arguments.results(str(tmp_path / 'file' / 'results.json'))
