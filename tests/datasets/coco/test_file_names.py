import unicodedata

import pytest

from mmconvnext.datasets.coco.file_names import find_images


@pytest.mark.parametrize(
    ('short', 'given', 'there'),
    [
        ('backslash', 'a\\b.jpg', 'a/b.jpg'),
        ('percent', 'a%20b%2Bc.jpg', 'a b+c.jpg'),
        ('unicode', unicodedata.normalize('NFC', 'caf\u00e9.jpg'), unicodedata.normalize('NFD', 'caf\u00e9.jpg')),
        ('unicode', unicodedata.normalize('NFD', 'caf\u00e9.jpg'), unicodedata.normalize('NFC', 'caf\u00e9.jpg')),
        ('mixed', 'a\\b%20c.jpg', 'a/b c.jpg'),
        (
            'mixed',
            'a\\' + unicodedata.normalize('NFC', 'caf\u00e9.jpg'),
            'a/' + unicodedata.normalize('NFD', 'caf\u00e9.jpg'),
        ),
    ],
)
def test_images_of_another_spelling_are_found(tmp_path, short, given, there):
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).touch()
    (tmp_path / 'plain.jpg').touch()
    missing, found = find_images(str(tmp_path), ['plain.jpg', given, 'absent%20.jpg'])
    assert missing == [2]
    (((name, _), names),) = found.items()
    assert (name, names) == (short, {1: there})


def test_a_name_that_is_there_is_left_as_it_is(tmp_path):
    for name in ('a%20b.jpg', 'a b.jpg'):
        (tmp_path / name).touch()
    assert find_images(str(tmp_path), ['a%20b.jpg']) == ([], {})
