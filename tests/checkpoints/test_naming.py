import pytest

from mmconvnext.checkpoints.naming import Pattern


@pytest.mark.parametrize(
    ('pattern', 'name', 'values'),
    [
        ('stages.{i}.{j}.gamma', 'stages.2.11.gamma', dict(i=2, j=11)),
        ('norm{i}.{p}', 'norm3.bias', dict(i=3, p='bias')),
        ('features.{2i+1}.{j}.block.0.{p}', 'features.5.4.block.0.weight', dict(i=2, j=4, p='weight')),
        ('norms.stage{i+1}.{p}', 'norms.stage1.weight', dict(i=0, p='weight')),
    ],
)
def test_reads_what_it_writes(pattern, name, values):
    assert Pattern(pattern).read(name) == values
    assert Pattern(pattern).write(values) == name


@pytest.mark.parametrize(
    ('pattern', 'name'),
    [
        ('stages.{i}.{j}.gamma', 'stages.2.gamma'),
        ('stages.{i}.{j}.gamma', 'stagesX2.1.gamma'),  # a dot is a dot
        ('norm.{p}', 'norm.scale'),
        ('stem.{k}.{p}', 'stem.2.weight'),
        ('fc{n}.{p}', 'fc0.weight'),
        ('features.{2i}.{k}.{p}', 'features.3.0.weight'),  # odd
        ('norms.stage{i+1}.{p}', 'norms.stage0.weight'),  # less than none
    ],
)
def test_other_names_are_none(pattern, name):
    assert Pattern(pattern).read(name) is None
