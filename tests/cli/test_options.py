from pathlib import Path

import pytest

from mmconvnext.cli import options


@pytest.fixture
def parser():
    return options.make_parser('', config='', mini='', work_dir='')


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
    assert options.shared(args) == dict(
        path='a.py', use_mini=True, data_root=None, work_dir='w', cfg_options={'x.y': [1, 2]}, launcher='pytorch'
    )


def test_home_folder_after_an_equals_sign(parser, monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    args = parser.parse_args(['~/a.py', '--data-root=~/coco', '--work-dir=~/runs'])
    assert [args.config, args.data_root, args.work_dir] == [str(tmp_path / n) for n in ('a.py', 'coco', 'runs')]
    assert options.path('https://host/~user/x.pth') == 'https://host/~user/x.pth'
    assert Path(options.path('x~')) == Path('x~')


def test_settings_given_twice_add_up(parser):
    args = parser.parse_args(['a.py', '--cfg-options', 'a=1', 'b=x=y', '--cfg-options', 'c=None'])
    assert args.cfg_options == {'a': 1, 'b': 'x=y', 'c': None}


@pytest.mark.parametrize(
    ('setting', 'value'),
    [
        ("a={'depths':(1,2),'widths':[3, 4]}", {'depths': (1, 2), 'widths': [3, 4]}),
        ("a=[{'type':'A','x':None},{'type':'B'}]", [{'type': 'A', 'x': None}, {'type': 'B'}]),
        ('a={}', {}),
        ('a=(1,2),(3,4)', ((1, 2), (3, 4))),
        ('a=[(1,2),(x,4)]', [(1, 2), ('x', 4)]),
        ('a=runs/{x}', 'runs/{x}'),
    ],
)
def test_setting_with_a_dictionary_or_nested_brackets(parser, setting, value):
    args = parser.parse_args(['a.py', '--cfg-options', 'b=1', setting])
    assert args.cfg_options == {'b': 1, 'a': value}
    assert type(args.cfg_options['a']) is type(value)


@pytest.mark.parametrize(
    ('setting', 'words'),
    [
        ('foo', 'written KEY=VALUE'),
        ('=1', 'written KEY=VALUE'),
        ('a=[1', 'brackets'),
        ('a=(1,2', 'brackets'),
        ("a={'x':1", 'brackets'),
        ('a={x:1}', 'no Python value'),
        ("a=[{'x':1},y]", 'no Python value'),
        ('a=dict(x=1)', 'no Python value'),
        ('a=dict(x=(1,2),y=3)', 'A dictionary is written'),
        ('a=f(1,2)', 'value'),
    ],
)
def test_malformed_setting_is_a_sentence(parser, setting, words, capsys):
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(['a.py', '--cfg-options', setting])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize('setting', ['a..b=3', '.a=3', 'a.=3'])
def test_setting_with_an_empty_name(parser, setting, capsys):
    """It made a key of that name, which nothing read."""
    with pytest.raises(SystemExit):
        parser.parse_args(['a.py', '--cfg-options', setting])
    assert setting in capsys.readouterr().err
