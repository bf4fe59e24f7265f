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


@pytest.mark.parametrize('root', ['/elsewhere/data/', 'C:\\data\\', 'D:/data/', '\\\\server\\data\\'])
def test_images_are_found_by_the_end_of_paths_of_another_machine(tmp_path, root):
    for name in ('a.jpg', 'b.jpg'):
        (tmp_path / name).touch()
    missing, found = find_images(str(tmp_path), [f'{root}a.jpg', 'b.jpg', f'{root}c.jpg', 'other/b.jpg'])
    assert missing == [2, 3]
    (((name, _), names),) = found.items()
    assert (name, names) == ('whole-paths', {0: 'a.jpg'})
    # Two of one name cannot be told
    assert find_images(str(tmp_path), [f'{root}x/a.jpg', f'{root}y/a.jpg']) == ([0, 1], {})


def test_a_name_that_is_there_is_left_as_it_is(tmp_path):
    for name in ('a%20b.jpg', 'a b.jpg'):
        (tmp_path / name).touch()
    assert find_images(str(tmp_path), ['a%20b.jpg']) == ([], {})


def test_images_whose_capitals_differ_are_found_where_one_has_the_letters(tmp_path):
    """Cameras write .JPG, and Windows and macOS open either."""
    for name in ('IMG_1.JPG', 'IMG_2.JPG', 'img_2.JPG'):
        (tmp_path / name).touch()
    missing, found = find_images(str(tmp_path), ['img_1.jpg', 'img_2.jpg', 'IMG_2.JPG'])
    assert missing == [1]
    (((name, _), names),) = found.items()
    assert (name, names) == ('capitals', {0: 'IMG_1.JPG'})
