"""The settings of Noisy Student in a config."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmconvnext.errors import UserError
from mmconvnext.semi.pseudo_labels import Selection

REQUIRED = ('teacher', 'unlabelled')
OPTIONAL = ('rounds', 'score_thr', 'images_per_class', 'oversample_thr', 'batch_ratio')


@dataclass(frozen=True)
class Settings:
    """``noisy_student`` of a config.

    Args:
        teacher: Config of the first teacher.
        ann_file: COCO file of the images without labels; below the data root unless it is absolute.
        data_prefix: Where these images are, as for MMDetection's CocoDataset.
        selection: Which predictions become labels.
        rounds: How many students are trained, one after the other.
        oversample_thr: Share of images below which those of a class are repeated, by the square root of how far below;
            see ``ClassBalancedDataset`` of MMEngine. 0 repeats none.
        batch_ratio: Labelled and unlabelled images of a batch.
    """

    teacher: Path
    ann_file: str
    data_prefix: dict[str, str]
    selection: Selection
    rounds: int
    oversample_thr: float
    batch_ratio: tuple[int, int]


def settings_of(cfg: Config) -> Settings:
    """Reads and checks ``noisy_student`` of a config.

    Raises:
        UserError: If it is not there, or has a wrong name or value; ``facts['key']`` names it.
    """
    given = cfg.get('noisy_student')
    if not isinstance(given, Mapping):
        raise UserError(
            f'{cfg.filename} has no noisy_student=dict(...), which names the teacher and the images without labels; '
            'configs/semi/noisy_student_mask_rcnn_convnext_t_10p.py has one.',
            key='noisy_student',
        )
    for name in given:
        if name not in REQUIRED + OPTIONAL:
            raise _wrong(name, 'nothing reads it', f'known are {", ".join(REQUIRED + OPTIONAL)}')
    for name in REQUIRED:
        if name not in given:
            raise _wrong(name, 'it is missing', 'configs/semi/noisy_student_mask_rcnn_convnext_t_10p.py has it')
    unlabelled, teacher = given['unlabelled'], given['teacher']
    if not isinstance(unlabelled, Mapping) or set(unlabelled) != {'ann_file', 'data_prefix'}:
        raise _wrong('unlabelled', f'it is {unlabelled!r}', 'write dict(ann_file=..., data_prefix=dict(img=...))')
    if not isinstance(teacher, str):
        raise _wrong('teacher', f'it is {teacher!r}', 'give the path of a config')
    rounds, ratio = given.get('rounds', 1), given.get('batch_ratio', (1, 1))
    if not _whole(rounds):
        raise _wrong('rounds', f'it is {rounds!r}', 'give a whole number, 1 or more')
    if not (isinstance(ratio, list | tuple) and len(ratio) == 2 and all(map(_whole, ratio))):
        raise _wrong('batch_ratio', f'it is {ratio!r}', 'give two whole numbers, such as (1, 1)')
    score_thr = given.get('score_thr', 0.7)
    for score in score_thr.values() if isinstance(score_thr, Mapping) else [score_thr]:
        if not _fraction(score):
            raise _wrong('score_thr', f'it is {score_thr!r}', 'give a number from 0 to 1, or one for each class')
    per_class, oversample_thr = given.get('images_per_class'), given.get('oversample_thr', 0.0)
    if not (per_class is None or _whole(per_class)):
        raise _wrong('images_per_class', f'it is {per_class!r}', 'give a whole number, 1 or more, or None for all')
    if not _fraction(oversample_thr):
        raise _wrong('oversample_thr', f'it is {oversample_thr!r}', 'give a number from 0, for none, to 1')
    return Settings(
        teacher=Path(cfg.filename).parent / Path(teacher).expanduser(),
        ann_file=unlabelled['ann_file'],
        data_prefix=dict(unlabelled['data_prefix']),
        selection=Selection(dict(score_thr) if isinstance(score_thr, Mapping) else score_thr, per_class),
        rounds=rounds,
        oversample_thr=oversample_thr,
        batch_ratio=(ratio[0], ratio[1]),
    )


def _wrong(name: str, what: str, right: str) -> UserError:
    return UserError(f'noisy_student.{name}: {what}; {right}.', key=f'noisy_student.{name}')


def _whole(value: Any) -> bool:
    return type(value) is int and value >= 1


def _fraction(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1
