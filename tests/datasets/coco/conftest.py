"""Damages the toy annotation files."""

import json

import pytest

TRAIN = 'annotations/instances_train2017.json'
VAL = 'annotations/instances_val2017.json'


@pytest.fixture
def rewrite(own_coco):
    """Damages an annotation file by a function of its content."""

    def run(damage, name=TRAIN):
        path = own_coco / name
        content = json.loads(path.read_text())
        replaced = damage(content)
        path.write_text(json.dumps(content if replaced is None else replaced))
        return path

    return run


def every(key, **fields):
    """Sets fields of every record."""
    return lambda content: [record.update(fields) for record in content[key]] and None


def without(key, field, which=slice(None)):
    """Takes a field away from the given records."""
    return lambda content: [record.pop(field) for record in content[key][which]] and None
