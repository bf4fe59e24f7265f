"""Measures where the masks of an annotation file lie, many at a time: one by one would take minutes for COCO."""

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmconvnext.datasets.coco.segmentation import RunLengths

CHUNK = 1 << 16  # numbers or runs that are gathered before they are measured


class Extents(NamedTuple):
    """Extent and area of each annotation's mask, in pixels; float32, NaN where an annotation has no sound mask.

    Args:
        boxes: left, top, right and bottom of each mask, of shape (annotations, 4), by the index in the file.
        areas: Area of each mask, of shape (annotations,). Parts of polygons that overlap count twice.
        boxes_by_rows: As ``boxes``, but with the counts of run-length masks read along the rows rather than down the
            columns; NaN for polygons.
    """

    boxes: np.ndarray
    areas: np.ndarray
    boxes_by_rows: np.ndarray


class ExtentsReader:
    """Gathers sound segmentations, and measures them chunk by chunk."""

    def __init__(self) -> None:
        self._numbers = array('d')
        self._lengths: list[int] = []  # of each polygon, in points
        self._polygon_places: list[int] = []
        self._runs: list[np.ndarray] = []
        self._gathered_runs = 0
        self._sizes: list[tuple[int, int]] = []
        self._run_places: list[int] = []
        self._polygons_measured: list[tuple[np.ndarray, np.ndarray]] = []
        self._runs_measured: list[tuple[np.ndarray, np.ndarray]] = []

    def add_polygons(self, place: int, polygons: Sequence[Sequence[float]]) -> None:
        """Adds the polygons of the annotation at this index; those of fewer than three points do not count."""
        for polygon in polygons:
            if len(polygon) >= 6:
                self._numbers.extend(polygon)
                self._lengths.append(len(polygon) // 2)
                self._polygon_places.append(place)
        if len(self._numbers) > CHUNK:
            self._measure_polygons()

    def add_runs(self, place: int, mask: RunLengths) -> None:
        """Adds the run-length mask of the annotation at this index."""
        self._runs.append(mask.runs)
        self._sizes.append((mask.height, mask.width))
        self._run_places.append(place)
        self._gathered_runs += mask.runs.size
        if self._gathered_runs > CHUNK:
            self._measure_runs()

    def finish(self, count: int) -> Extents:
        """Measures what is left.

        Args:
            count: How many annotations the file has.
        """
        self._measure_polygons()
        self._measure_runs()
        measured = np.full((count, 9), np.nan, np.float32)
        for columns, chunks in ((5, self._polygons_measured), (9, self._runs_measured)):
            for places, values in chunks:
                measured[places, :columns] = values
        return Extents(measured[:, :4], measured[:, 4], measured[:, 5:])

    def _measure_polygons(self) -> None:
        if not self._lengths:
            return
        x, y = np.array(self._numbers).reshape(-1, 2).T.clip(-1e6, 1e6)
        ends = np.cumsum(self._lengths)
        starts = np.concatenate(([0], ends[:-1]))
        following = np.arange(1, x.size + 1)
        following[ends - 1] = starts
        # The shoelace formula, about each polygon's first point to keep the products small
        u, v = x - np.repeat(x[starts], self._lengths), y - np.repeat(y[starts], self._lengths)
        areas = np.abs(np.add.reduceat(u * v[following] - u[following] * v, starts)) / 2
        places = np.array(self._polygon_places)
        first = np.flatnonzero(np.diff(places, prepend=-1))  # the first of each annotation's polygons
        low = [np.minimum.reduceat(np.minimum.reduceat(values, starts), first) for values in (x, y)]
        high = [np.maximum.reduceat(np.maximum.reduceat(values, starts), first) for values in (x, y)]
        measured = np.stack([*low, *high, np.add.reduceat(areas, first)], 1).astype(np.float32)
        self._polygons_measured.append((places[first], measured))
        self._numbers, self._lengths, self._polygon_places = array('d'), [], []

    def _measure_runs(self) -> None:
        if not self._runs:
            return
        runs, lengths = np.concatenate(self._runs), np.array([runs.size for runs in self._runs])
        starts = np.cumsum(lengths) - lengths
        stop = np.cumsum(runs)
        stop -= np.repeat(stop[starts] - runs[starts], lengths)  # each mask's pixels are counted from 0
        inside = ((np.arange(runs.size) - np.repeat(starts, lengths)) % 2 == 1) & (runs > 0)
        mask = np.repeat(np.arange(lengths.size), lengths)[inside]
        begin, stop = (stop - runs)[inside], stop[inside]
        if mask.size:
            first = np.flatnonzero(np.diff(mask, prepend=-1))
            heights, widths = np.array(self._sizes)[mask].T
            left, right, top, bottom = _lines(begin, stop, heights, first)
            rows = _lines(begin, stop, widths, first)
            areas = np.add.reduceat(stop - begin, first)
            measured = np.stack([left, top, right, bottom, areas, rows[2], rows[0], rows[3], rows[1]], 1)
            self._runs_measured.append((np.array(self._run_places)[mask[first]], measured.astype(np.float32)))
        self._runs, self._sizes, self._run_places, self._gathered_runs = [], [], [], 0


def _lines(begin: np.ndarray, stop: np.ndarray, length: np.ndarray, first: np.ndarray) -> list[np.ndarray]:
    """Returns the extent of each mask across the lines that its runs go along, and within a line.

    Args:
        begin: The first pixel of each run.
        stop: The pixel after each run.
        length: The length of a line, for each run.
        first: Index of the first run of each mask.

    Returns:
        First line, last line + 1, first pixel in a line, last pixel in a line + 1, of each mask.
    """
    line, last = begin // length, (stop - 1) // length
    whole = last > line  # a run that continues in the next line touches both ends of a line
    low = np.where(whole, 0, begin % length)
    high = np.where(whole, length, (stop - 1) % length + 1)
    return [
        np.minimum.reduceat(line, first),
        np.maximum.reduceat(last, first) + 1,
        np.minimum.reduceat(low, first),
        np.maximum.reduceat(high, first),
    ]
