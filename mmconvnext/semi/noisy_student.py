"""Noisy Student (arXiv 1911.04252) for detection and instance segmentation.

A teacher is trained on the labels there are. It labels the other images, without noise. A student is trained on both,
with noise, and is the teacher of the next round. A round leaves a checkpoint and a plain COCO file of labels.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmconvnext.checkpoints.locate import locate
from mmconvnext.config.prepare import configure
from mmconvnext.errors import UserError
from mmconvnext.semi import stage_configs, stages
from mmconvnext.semi.pseudo_labels import write_labels
from mmconvnext.semi.settings import Settings, settings_of
from mmconvnext.semi.stages import Launch
from mmconvnext.whole_files import written_whole

SHOWN = {'coco/bbox_mAP': 'box AP', 'coco/segm_mAP': 'mask AP'}


@dataclass(frozen=True)
class Reached:
    """What a model of the run reached.

    Args:
        name: ``teacher``, or ``student 1`` and so on.
        checkpoint: Its file.
        metrics: Of its last evaluation; empty for a teacher that was not trained here.
    """

    name: str
    checkpoint: Path
    metrics: dict[str, float]


@dataclass(frozen=True)
class Plan:
    """A whole run.

    Args:
        work_dir: Has a folder for the teacher, and one for each round.
        settings: What the config says of Noisy Student.
        teacher: Config of the first teacher.
        students: Config of the student of each round.
        checkpoint: Of the first teacher, if it is not to be trained.
        pretrained: Backbone weights that every training starts from, as ``--pretrained`` of tools/train.py.
        tta: Whether teachers label with test-time augmentation.
    """

    work_dir: Path
    settings: Settings
    teacher: Config
    students: tuple[Config, ...]
    checkpoint: Path | None = None
    pretrained: str | None = None
    tta: bool = False


def make_plan(
    path: str,
    *,
    students: Sequence[str] = (),
    checkpoint: str | None = None,
    use_mini: bool = False,
    data_root: str | None = None,
    work_dir: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    seed: int | None = None,
    pretrained: str | None = None,
    tta: bool = False,
) -> Plan:
    """Reads all configs of a run, so that their errors come before the first training.

    Args:
        path: Config of the students, with ``noisy_student``.
        students: Config of the student of each round, instead of ``path`` for all.
        checkpoint: Of a trained teacher.
        use_mini: As for :func:`mmconvnext.config.prepare.prepare`, and so are the next four.
        data_root: Folder of the data.
        work_dir: Folder of the run.
        cfg_options: Values to set in every config; those of ``noisy_student`` in the first alone.
        seed: Of every training.
        pretrained: Backbone weights.
        tta: Whether teachers label with test-time augmentation.

    Raises:
        UserError: If a config or an option cannot be used.
    """
    options = dict(cfg_options or {})
    others = {name: value for name, value in options.items() if name.split('.')[0] != 'noisy_student'}

    def read(of: str | Path, options: Mapping[str, Any]) -> Config:
        cfg, notes = configure(str(of), use_mini=use_mini, data_root=data_root, cfg_options=options)
        if seed is not None:
            cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
        for note in notes:
            print(f'{of}: {note}')
        return cfg

    cfg = read(path, options)
    settings = settings_of(cfg)
    if students and len(students) != settings.rounds:
        raise UserError(
            f'--students has {len(students)} configs and noisy_student.rounds is {settings.rounds}; give a config for '
            'each round.',
            students=len(students),
            rounds=settings.rounds,
        )
    folder = Path(work_dir or f'work_dirs/{Path(path).stem}{"_mini" if use_mini else ""}').expanduser()
    return Plan(
        work_dir=folder,
        settings=settings,
        teacher=read(settings.teacher, others),
        students=tuple(read(student, others) for student in students) or (cfg,) * settings.rounds,
        checkpoint=None if checkpoint is None else Path(locate(checkpoint)),
        pretrained=pretrained,
        tta=tta,
    )


def run(plan: Plan, launch: Launch) -> list[Reached]:
    """Trains the teacher and the students, each stage once; a run that was interrupted goes on where it was.

    Returns:
        The teacher and the student of each round.

    Raises:
        UserError: If a stage fails, or if the work directory is of a run with other settings.
    """
    folder, settings = plan.work_dir, plan.settings
    folder.mkdir(parents=True, exist_ok=True)
    unlabelled = folder / 'unlabelled.json'
    count = stage_configs.write_unlabelled(plan.teacher, settings, unlabelled)
    for student in plan.students:  # an error in it should not come after the teacher's training
        stage_configs.train_on(student, settings, unlabelled)
    if plan.checkpoint is None:
        print('\nthe teacher learns from the labelled images alone', flush=True)
        trained = stages.train('the teacher', plan.teacher, folder / 'teacher', launch, plan.pretrained)
        reached = [Reached('teacher', trained.checkpoint, trained.metrics)]
    else:
        reached = [Reached('teacher', plan.checkpoint, {})]
    teacher = plan.teacher
    for number, student in enumerate(plan.students, 1):
        of_round = folder / f'round_{number}'
        labels = of_round / 'pseudo_labels.json'
        print(f'\nround {number} of {len(plan.students)}: {reached[-1].name} labels {count} images', flush=True)
        _label(plan, teacher, reached[-1].checkpoint, unlabelled, labels, launch)
        print(f'\nround {number} of {len(plan.students)}: student {number} learns from both', flush=True)
        name = f'student {number}'
        trained = stages.train(
            name, stage_configs.train_on(student, settings, labels), of_round / 'student', launch, plan.pretrained
        )
        reached.append(Reached(name, trained.checkpoint, trained.metrics))
        teacher = student
    return reached


def table(reached: Sequence[Reached]) -> str:
    """The metrics of the teacher and the students, a line each."""
    names = [name for name in SHOWN if any(name in one.metrics for one in reached)]
    width = max(len(one.name) for one in reached)
    lines = [' ' * width + ''.join(f'{SHOWN[name]:>10}' for name in names)]
    for one in reached:
        values = (f'{one.metrics[name]:>10.3f}' if name in one.metrics else f'{"-":>10}' for name in names)
        lines.append(f'{one.name:<{width}}{"".join(values)}    {one.checkpoint}')
    return '\n'.join(lines)


def _label(plan: Plan, cfg: Config, checkpoint: Path, unlabelled: Path, labels: Path, launch: Launch) -> None:
    """Writes a teacher's labels, unless they are there and of the same selection."""
    selection = dict(asdict(plan.settings.selection), teacher=str(checkpoint), tta=plan.tta)
    record = labels.with_name('selection.json')
    if labels.is_file() and record.is_file():
        before = json.loads(record.read_text())
        if before != selection:
            changed = [name for name in selection if selection[name] != before.get(name)]
            raise UserError(
                f'{labels} was made with another {" and ".join(changed)}: {before}, now {selection}. Start with the '
                'settings from before, or with another --work-dir, or move the folder of this round and the later ones '
                'away.',
                path=labels,
                changed=changed,
            )
        print(f'{labels} is there')
        return
    folder = labels.with_name('predictions')
    cfg = stage_configs.predict_on(cfg, plan.settings, unlabelled, stages.results_of(folder))
    results = stages.predict('labelling', cfg, checkpoint, folder, launch, tta=plan.tta)
    with written_whole(record) as part:
        part.write_text(json.dumps(selection))
    print(write_labels(unlabelled, results, plan.settings.selection, labels).table(), flush=True)
    print(labels)
