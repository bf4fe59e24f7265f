import argparse

import pytest

from benchmarks import arguments, timing


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


def test_figures_of_another_machine_go_to_another_file(tmp_path) -> None:
    path, here = tmp_path / 'results.json', dict(processor='A', threads=2, torch='2.14.0')
    arguments.check_setting(path, here)
    arguments.check_setting(None, here)
    result = dict(model='tiny', mode='training', dtype='fp32', input=[1, 3, 64, 96], machine=here)
    timing.append(path, [result])
    arguments.check_setting(path, here)
    for name, value in (('processor', 'B'), ('threads', 4), ('torch', '2.15.0'), ('gpu', 'C')):
        with pytest.raises(SystemExit, match=f'{name} .* here it is {value}'):
            arguments.check_setting(path, here | {name: value})


def test_memory_is_refused_where_the_system_does_not_say_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(timing, 'MEMORY_RESET', tmp_path)
    arguments.check_memory()
    monkeypatch.setattr(timing, 'MEMORY_RESET', tmp_path / 'clear_refs')
    with pytest.raises(SystemExit, match=r'--memory needs .*clear_refs'):
        arguments.check_memory()
