"""What a teacher finds in images without labels, as a COCO annotation file that other tools read too."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycocotools import mask as run_lengths

from mmconvnext.datasets.coco.reading import garbage_collection_paused
from mmconvnext.errors import UserError
from mmconvnext.whole_files import written_whole

DIGITS = 2  # of a pixel, in boxes


@dataclass(frozen=True)
class Selection:
    """Which predictions become labels.

    Args:
        score_thr: The lowest score of a box that is kept, of all classes, or by the name of each class.
        images_per_class: The most images that are kept for the sake of a class: those in which the teacher is most
            confident of it. None keeps all.
    """

    score_thr: float | Mapping[str, float]
    images_per_class: int | None = None


@dataclass(frozen=True)
class ClassCount:
    """What became of a class.

    Args:
        predicted: Boxes that the teacher found.
        kept: Boxes that are labels.
        images: Images with one of these.
    """

    predicted: int
    kept: int
    images: int


@dataclass(frozen=True)
class Counts:
    """What became of a teacher's predictions.

    Args:
        images: Without labels, all of them.
        without_box: Images of these in which no box reached the threshold; they are left out.
        balanced_away: Images that no class has among its most confident ones; they are left out.
        without_pixels: Boxes that were left out because they are smaller than a pixel, or their mask has none.
        classes: By name, in the order of the categories.
    """

    images: int
    without_box: int
    balanced_away: int
    without_pixels: int
    classes: dict[str, ClassCount]

    @property
    def predicted(self) -> int:
        """Boxes that the teacher found."""
        return sum(count.predicted for count in self.classes.values())

    @property
    def kept(self) -> int:
        """Boxes that are labels."""
        return sum(count.kept for count in self.classes.values())

    def table(self) -> str:
        """The counts as lines of text."""
        left_out = [f'{self.without_box} without a box that was kept']
        left_out += [f'{self.balanced_away} to balance the classes'] if self.balanced_away else []
        lines = [
            f'kept {self.kept} of {self.predicted} boxes that the teacher found',
            *([f'left out {self.without_pixels} boxes that cover no pixel'] if self.without_pixels else []),
            f'left out of {self.images} images: {", ".join(left_out)}',
        ]
        width = max(map(len, self.classes), default=0)
        lines += [
            f'    {name:<{width}}  {count.kept:>7} of {count.predicted:>7} boxes, in {count.images:>6} images'
            for name, count in self.classes.items()
        ]
        return '\n'.join(lines)


def label(
    unlabelled: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]], selection: Selection
) -> tuple[dict[str, Any], Counts]:
    """Makes annotations of predictions.

    A class with more images than ``images_per_class`` keeps those of its most confident box, as the paper keeps the
    most confident images of a class. An image stays whole as long as one of its classes keeps it, since an object whose
    label is missing would be learnt as background. For the same reason an image without a kept box is left out: the
    teacher may have missed what is in it.

    Args:
        unlabelled: The content of a COCO file with ``images`` and ``categories``.
        predictions: Results in COCO's format: ``image_id``, ``category_id``, ``bbox`` as x, y, width, height in pixels,
            ``score`` and, with masks, ``segmentation`` in run lengths.
        selection: Which of them are kept.

    Returns:
        The content of a COCO file: of ``unlabelled`` all but the images that are left out, with annotations. Each has a
        ``score`` beside what COCO asks for; ``iscrowd`` is 0. Masks stay in run lengths. Annotations come by image,
        the most confident first.

    Raises:
        UserError: If no prediction is kept, or if a threshold is of no class.
    """
    categories = {category['id']: category['name'] for category in unlabelled['categories']}
    lowest = thresholds(selection.score_thr, categories)
    images = {image['id']: image for image in unlabelled['images']}
    found = dict.fromkeys(categories, 0)
    highest = 0.0
    without_pixels = 0
    by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for prediction in predictions:
        category_id, score = prediction['category_id'], prediction['score']
        found[category_id] += 1
        highest = max(highest, score)
        if score >= lowest[category_id]:
            if annotation := _annotation(prediction, images[prediction['image_id']]):
                by_image[prediction['image_id']].append(annotation)
            else:
                without_pixels += 1
    if not by_image:
        raise UserError(
            f'the teacher found nothing to learn from: of its {len(predictions)} boxes in {len(images)} images none '
            f'reaches noisy_student.score_thr={selection.score_thr}; the highest score is {highest:.2f}. Train the '
            'teacher longer, or set a lower threshold.',
            predicted=len(predictions),
            highest=highest,
        )
    chosen = _most_confident(by_image, selection.images_per_class)
    annotations = [
        annotation
        for image_id in images
        if image_id in chosen
        for annotation in sorted(by_image[image_id], key=lambda one: -one['score'])
    ]
    others = {key: value for key, value in unlabelled.items() if key not in ('images', 'annotations', 'categories')}
    content = {
        **others,
        'images': [image for image in unlabelled['images'] if image['id'] in chosen],
        'annotations': [{'id': number, **annotation} for number, annotation in enumerate(annotations, 1)],
        'categories': unlabelled['categories'],
    }
    kept: dict[Any, list[Any]] = {category_id: [] for category_id in categories}  # the images of a class's boxes
    for annotation in annotations:
        kept[annotation['category_id']].append(annotation['image_id'])
    counts = Counts(
        images=len(images),
        without_box=len(images) - len(by_image),
        balanced_away=len(by_image) - len(chosen),
        without_pixels=without_pixels,
        classes={name: ClassCount(found[key], len(kept[key]), len(set(kept[key]))) for key, name in categories.items()},
    )
    return content, counts


def write_labels(unlabelled: Path, predictions: Path, selection: Selection, path: Path) -> Counts:
    """Writes the annotation file of a teacher's predictions; it has its name when it is whole.

    Args:
        unlabelled: A COCO file with ``images`` and ``categories``.
        predictions: A file of results in COCO's format, such as MMDetection's CocoMetric writes with ``format_only``.
        selection: Which of them are kept.
        path: The file to write.

    Raises:
        UserError: As :func:`label`, or if the file cannot be written.
    """
    with garbage_collection_paused():
        content, counts = label(json.loads(unlabelled.read_text()), json.loads(predictions.read_text()), selection)
        with written_whole(path) as unfinished, unfinished.open('w', encoding='ascii') as file:
            json.dump(content, file)
    return counts


def thresholds(score_thr: float | Mapping[str, float], categories: Mapping[Any, str]) -> dict[Any, float]:
    """Returns the threshold of each category by its id.

    Args:
        score_thr: As of :class:`Selection`.
        categories: Names by id.

    Raises:
        UserError: If there are thresholds by name, and these are not the names of the categories.
    """
    if not isinstance(score_thr, Mapping):
        return dict.fromkeys(categories, score_thr)
    names = set(categories.values())
    if names != set(score_thr):
        raise UserError(
            'noisy_student.score_thr must be one number, or have one for each class. Missing: '
            f'{", ".join(sorted(names - set(score_thr))) or "none"}; of no class: '
            f'{", ".join(sorted(set(score_thr) - names)) or "none"}.',
            missing=sorted(names - set(score_thr)),
            unknown=sorted(set(score_thr) - names),
        )
    return {category_id: score_thr[name] for category_id, name in categories.items()}


def _most_confident(by_image: Mapping[Any, Sequence[Mapping[str, Any]]], images_per_class: int | None) -> set[Any]:
    """Returns the ids of the images that are among the most confident ones of a class."""
    if images_per_class is None:
        return set(by_image)
    confidence: dict[Any, dict[Any, float]] = defaultdict(dict)  # by class, then by image
    for image_id, predictions in by_image.items():
        for prediction in predictions:
            of_class = confidence[prediction['category_id']]
            of_class[image_id] = max(of_class.get(image_id, 0.0), prediction['score'])
    return {
        image_id
        for of_class in confidence.values()
        for image_id in sorted(of_class, key=lambda image_id: -of_class[image_id])[:images_per_class]
    }


def _annotation(prediction: Mapping[str, Any], image: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns an annotation without an id; None if less than a pixel of it is in the image.

    MMDetection's CocoDataset passes over such boxes.
    """
    x, y, width, height = prediction['bbox']
    left, top = max(0.0, x), max(0.0, y)
    width, height = min(x + width, image['width']) - left, min(y + height, image['height']) - top
    mask = prediction.get('segmentation')
    area = width * height if mask is None else int(run_lengths.area(mask))
    if min(width, height) < 1 or area < 1:
        return None
    return dict(
        image_id=image['id'],
        category_id=prediction['category_id'],
        bbox=[round(value, DIGITS) for value in (left, top, width, height)],
        area=round(area, DIGITS),
        iscrowd=0,
        score=prediction['score'],
        **({} if mask is None else dict(segmentation=mask)),
    )
