"""Files of other kinds that are given as ann_file."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import shutil
import subprocess
import tarfile
import zipfile

import pytest
from PIL import Image

from mmconvnext.datasets.coco.reading import UnreadableError
from mmconvnext.datasets.coco.records import read_records

COCO = json.dumps(dict(images=[], annotations=[], categories=[]))
RESULT = dict(image_id=1, category_id=1, bbox=[1, 2, 3, 4], score=0.9)


def archive(kind):
    buffer = io.BytesIO()
    if kind == 'zip':
        with zipfile.ZipFile(buffer, 'w') as file:
            file.writestr('a.json', COCO)
    else:
        with tarfile.open(fileobj=buffer, mode='w') as file:
            file.addfile(tarfile.TarInfo('a.json'))
    return buffer.getvalue()


def picture(kind):
    buffer = io.BytesIO()
    Image.new('RGB', (96, 64)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ('content', 'named'),
    [
        (gzip.compress(COCO.encode()), 'gzip'),
        (bz2.compress(COCO.encode()), 'bzip2'),
        (lzma.compress(COCO.encode()), 'xz'),
        (archive('zip'), 'ZIP'),
        (archive('tar'), 'tar'),
        (picture('JPEG'), 'JPEG'),
        (picture('PNG'), 'PNG'),
        (pickle.dumps([1]), 'pickle'),
        ('version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n', 'Git LFS'),
        ('<?xml version="1.0"?>\n<annotation>\n<folder>VOC</folder></annotation>', 'Pascal VOC'),
        ('<annotation></annotation>', 'Pascal VOC'),
        ('\n<!DOCTYPE html>\n<html>', 'web page'),
        ('<annotations><version>1.1</version></annotations>', 'XML'),
        ('# own data\ntrain: images/train\nval: images/val\n\nnc: 2\nnames: [cat, dog]\n', 'YAML'),
        ('path: ../datasets/coco128\nnames:\n  0: person\n', 'YAML'),
        ('filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,96,64,cat,1,2,3,4\n', 'CSV'),
        ('0 0.5 0.5 0.25 0.25\n1 0.1 0.2 0.1 0.1\n', 'YOLO'),
        ('\n'.join([json.dumps(dict(image='a.jpg'))] * 3), 'JSON Lines'),
        (str(json.loads(COCO)), 'json.dump'),
        (json.dumps([RESULT]), 'results'),
        (json.dumps([dict(id=1, image_id=1, category_id=1, bbox=[1, 2, 3, 4])]), 'list of annotations'),
        (json.dumps([dict(image='a.jpg', annotations=[])]), 'CreateML'),
        (json.dumps([dict(id=1, data={}, annotations=[])]), 'Label Studio'),
        (json.dumps(dict(version='5.0', flags={}, shapes=[], imagePath='a.jpg')), 'LabelMe'),
        (json.dumps(dict(_via_settings={}, _via_img_metadata={})), 'VIA'),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else 'content',  # compressed bytes vary
)
def test_kind_of_file_is_named(tmp_path, content, named):
    path = tmp_path / 'ann.json'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UnreadableError) as error:
        read_records(str(path), needs_annotations=True)
    assert named in f'{error.value.what}. {error.value.remedy}'
    assert error.value.remedy


@pytest.mark.parametrize('text', ['{"images": [], "annotations": [{"file,a,b', '{"a": "names: x,\nnames: y', 'hello'])
def test_damaged_json_is_not_taken_for_another_kind(tmp_path, text):
    path = tmp_path / 'ann.json'
    path.write_text(text)
    with pytest.raises(UnreadableError, match='is not JSON'):
        read_records(str(path), needs_annotations=True)


@pytest.mark.parametrize('compress', [gzip.compress, bz2.compress, lzma.compress])
def test_the_command_that_is_advised_unpacks_the_file(tmp_path, compress):
    """A compressed file that is named .json has no suffix by which gzip would unpack it."""
    (tmp_path / 'ann.json').write_bytes(compress(COCO.encode()))
    with pytest.raises(UnreadableError) as error:
        read_records(str(tmp_path / 'ann.json'), needs_annotations=True)
    command = error.value.remedy.partition(': ')[2]
    if shutil.which(command.split()[0]) is None:
        pytest.skip(f'{command.split()[0]} is not installed')
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert (tmp_path / 'new.json').read_text() == COCO
