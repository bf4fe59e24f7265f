import json

import pytest

from mmconvnext.datasets.coco.reading import UnreadableError, members, read_text


def read(text, wanted=('a',)):
    """What the items of members() make up."""
    found = {}
    for key, index, value in members(text, frozenset(wanted)):
        if index is None:
            found[key] = value
        else:
            assert index == len(found[key])
            found[key].append(value)
    return found


@pytest.mark.parametrize('indent', [None, 2, '\t'])
@pytest.mark.parametrize(
    'content', [{}, {'a': []}, {'a': [1, {'b': [2.5, None]}, 'é"]']}, {'b': {'a': [1]}, 'a': [[]]}]
)
def test_members_are_what_json_reads(content, indent):
    assert read(json.dumps(content, indent=indent)) == content
    assert read(f'\n {json.dumps(content, ensure_ascii=False)} \r\n') == content


@pytest.mark.parametrize('text', ['', ' ', '{', '{"a"', '{"a": [1', '{"a": [1,', '{"a": [1]', '{"a": "b'])
def test_unfinished_text(text):
    with pytest.raises(UnreadableError, match=r'is not JSON: (it ends in the middle|the file is empty)'):
        read(text)


@pytest.mark.parametrize(
    ('text', 'column'),
    [
        ('{"a": [1,,2], "b": 1234567}', 10),
        ('{"a": [1] "b": 1234567}', 11),
        ('{a: [1], "b": 1234567}', 2),
        ('{"a": [1]} {"b": 1234567}', 12),
        ('{"a": [1 2], "b": 1234567}', 10),
    ],
)
def test_wrong_text_is_located(text, column):
    with pytest.raises(UnreadableError, match=f'line 1, column {column}'):
        read(text)


def test_nesting_without_end():
    with pytest.raises(UnreadableError, match='nested'):
        read('{"b": ' + '[' * 200_000)


def test_number_without_end():
    with pytest.raises(UnreadableError, match='digits'):
        read('{"b": ' + '9' * 5000 + '}')


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-16-le'])
def test_encodings_that_are_certain(tmp_path, encoding):
    path = tmp_path / 'a.json'
    path.write_text('{"a": "猫"}', encoding=encoding)
    text, other = read_text(path)
    assert text == '{"a": "猫"}'
    assert other is not None
    path.write_text('{"a": "猫"}', encoding='utf-8')
    assert read_text(path) == ('{"a": "猫"}', None)


@pytest.mark.parametrize('encoding', ['gbk', 'shift-jis', 'latin-1'])
def test_encodings_that_are_not(tmp_path, encoding):
    path = tmp_path / 'a.json'
    path.write_text('{"a": "é"}' if encoding == 'latin-1' else '{"a": "猫と狗"}'.replace('と', ''), encoding=encoding)
    with pytest.raises(UnreadableError, match='another encoding, such as GBK') as error:
        read_text(path)
    assert 'UTF-8' in error.value.remedy
