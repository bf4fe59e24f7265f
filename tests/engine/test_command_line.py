from pathlib import Path

import pytest

from mmconvnext.engine import command_line


@pytest.fixture
def parser():
    return command_line.make_parser('', config='', mini='', work_dir='')


def test_options_are_what_prepare_takes(parser):
    args = parser.parse_args(
        [
            'a.py',
            '--mini',
            '--work-dir',
            'w',
            '--launcher',
            'pytorch',
            '--local_rank',
            '1',
            '--cfg-options',
            'x.y=[1,2]',
        ]
    )
    assert command_line.for_prepare(args) == dict(
        path='a.py', use_mini=True, data_root=None, work_dir='w', cfg_options={'x.y': [1, 2]}, launcher='pytorch'
    )


def test_home_folder_after_an_equals_sign(parser, monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    args = parser.parse_args(['~/a.py', '--data-root=~/coco', '--work-dir=~/runs'])
    assert [args.config, args.data_root, args.work_dir] == [str(tmp_path / n) for n in ('a.py', 'coco', 'runs')]
    assert command_line.path('https://host/~user/x.pth') == 'https://host/~user/x.pth'
    assert Path(command_line.path('x~')) == Path('x~')


def test_settings_given_twice_add_up(parser):
    args = parser.parse_args(['a.py', '--cfg-options', 'a=1', 'b=x=y', '--cfg-options', 'c=None'])
    assert args.cfg_options == {'a': 1, 'b': 'x=y', 'c': None}


@pytest.mark.parametrize(
    ('setting', 'words'),
    [('foo', 'written KEY=VALUE'), ('=1', 'written KEY=VALUE'), ('a=[1', 'brackets'), ('a=(1,2', 'brackets')],
)
def test_malformed_setting_is_a_sentence(parser, setting, words, capsys):
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(['a.py', '--cfg-options', setting])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
