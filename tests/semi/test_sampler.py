from itertools import islice

import pytest

from mmconvnext.errors import UserError
from mmconvnext.semi.sampler import LabelledAndUnlabelledSampler


class Images:
    def __init__(self, sizes):
        self.sizes = sizes

    def __len__(self):
        return len(self.sizes)

    def get_data_info(self, index):
        return dict(zip(('width', 'height'), self.sizes[index]))


class Both:
    """A ConcatDataset, as far as samplers look at it."""

    def __init__(self, *sources):
        self.datasets = [Images(sizes) for sizes in sources]
        self.cumulative_sizes = [sum(map(len, self.datasets[: i + 1])) for i in range(len(self.datasets))]

    def __len__(self):
        return self.cumulative_sizes[-1]


WIDE, TALL = (96, 64), (64, 96)
MIXED = [WIDE, TALL, WIDE]


def batches(dataset, count=40):
    sampler = LabelledAndUnlabelledSampler(dataset, 5, [1, 4], seed=0)
    indices = list(islice(iter(sampler), 5 * count))
    return sampler, [indices[i : i + 5] for i in range(0, len(indices), 5)]


def test_batches_have_the_ratio_and_one_shape():
    sizes = MIXED + 3 * MIXED
    sampler, drawn = batches(Both(MIXED, 3 * MIXED))
    assert sampler.grouped
    assert all(sum(index < 3 for index in batch) == 1 for batch in drawn)
    assert all(batch[0] < 3 for batch in drawn)
    assert all(len({sizes[index] for index in batch}) == 1 for batch in drawn)
    assert {index for batch in drawn for index in batch} == set(range(12))


@pytest.mark.parametrize('sources', [([WIDE, WIDE], 3 * MIXED), (MIXED, 9 * [TALL]), ([WIDE], [TALL])])
def test_a_source_without_images_of_a_shape_does_not_stop_it(sources):
    """MMDetection's sampler searches for them forever."""
    sampler, drawn = batches(Both(*sources))
    assert not sampler.grouped
    assert all(sum(index < len(sources[0]) for index in batch) == 1 for batch in drawn)
    assert {index for batch in drawn for index in batch} == set(range(sum(map(len, sources))))


def test_sources_of_one_shape_are_grouped():
    assert batches(Both([WIDE], [WIDE, WIDE]))[0].grouped


def test_an_empty_source_is_refused():
    with pytest.raises(UserError) as error:
        LabelledAndUnlabelledSampler(Both([WIDE], []), 5, [1, 4])
    assert error.value.facts['empty'] == [1]


@pytest.mark.parametrize(('size', 'ratio', 'counts'), [(1, [1, 4], [1, 0]), (3, [0, 1], [0, 3]), (2, [9, 1], [2, 0])])
def test_a_batch_without_images_of_a_source_is_refused(size, ratio, counts):
    """MMDetection's sampler would fill it with that source forever."""
    with pytest.raises(UserError) as error:
        LabelledAndUnlabelledSampler(Both(MIXED, MIXED), size, ratio)
    assert error.value.facts['counts'] == counts


def test_another_number_of_sources_is_refused():
    with pytest.raises(UserError, match='ConcatDataset'):
        LabelledAndUnlabelledSampler(Both(MIXED), 5, [1, 4])
