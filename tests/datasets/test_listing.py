from mmconvnext.datasets.listing import absent, first_few, is_remote


def test_absent_keeps_the_order(tmp_path, monkeypatch):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a/1').touch()
    paths = ['a/3', 'b/1', 'a/1', 'a/2', 'top']
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'top').touch()
    assert absent(paths) == ['a/3', 'b/1', 'a/2']


def test_remote():
    assert is_remote('s3://bucket/coco/train2017')
    assert is_remote('data/coco', {'backend': 'petrel', 'path_mapping': {'data/': 's3://bucket/'}})
    assert not is_remote('data/coco', {'backend': 'local'})
    assert not is_remote('C:/data/coco')


def test_some():
    assert first_few('abc') == 'a, b, c'
    assert first_few('abcde', 2) == 'a, b and 3 more'
