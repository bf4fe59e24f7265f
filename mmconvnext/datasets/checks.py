"""Checks a user's data before training or testing, so that faults are reported at once and not after minutes."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from mmconvnext.config_tree import NodePath, datasets_of, walk
from mmconvnext.datasets.coco.check import CheckedFile, check_coco
from mmconvnext.datasets.coco.mending import Mends
from mmconvnext.datasets.coco.use import CocoUse
from mmconvnext.datasets.errors import DataError
from mmconvnext.datasets.findings import Findings, Severity
from mmconvnext.datasets.ignored_label import check_evaluated_label, check_trained_label, ignored_by_heads
from mmconvnext.datasets.image_files import check_image_files, turns_by_exif
from mmconvnext.datasets.label_maps import check_label_maps
from mmconvnext.datasets.listing import first_few, is_remote
from mmconvnext.datasets.num_classes import check_num_classes, num_classes_options
from mmconvnext.datasets.pixel_formats import loads_8_bits
from mmconvnext.datasets.split_overlap import check_overlap
from mmconvnext.datasets.xml_lists import check_xml_list
from mmconvnext.errors import raised_by_us

COCO_LAYOUT = """\
    annotations/instances_train2017.json
    annotations/instances_val2017.json
    train2017/*.jpg
    val2017/*.jpg"""
ADE20K_LAYOUT = """\
    images/training/*.jpg
    images/validation/*.jpg
    annotations/training/*.png
    annotations/validation/*.png"""
MANY_CLASSES = 100  # more names than this are not printed: the user is told to write a text file
PAGE = 'docs/your_own_data.md'


@dataclass(frozen=True)
class Source:
    """A dataset that reads files, without the wrappers around it.

    Args:
        name: Where it is in the config, such as ``train_dataloader.dataset``.
        loader: The key of its data loader.
        cfg: Its config.
        dataset: The dataset, built, with nothing loaded yet.
    """

    name: str
    loader: str
    cfg: ConfigDict
    dataset: BaseDataset


@dataclass(frozen=True)
class CheckedData:
    """The outcome of the checks of a run's data.

    Args:
        findings: The findings in all its files.
        mends: The changes that corrected copies of annotation files need, by the file's absolute path.
    """

    findings: Findings = field(default_factory=Findings)
    mends: dict[str, Mends] = field(default_factory=dict)


def check_data(cfg: Config, loaders: Sequence[str], segmentation: bool) -> CheckedData:
    """Checks that the data that a config's loaders read exists, is sound, and fits the classes of the model.

    Paths with a scheme (``s3://``) and file backends other than the local one are not checked, nor is the content of
    datasets that read other formats than COCO's and label maps.

    Args:
        cfg: A whole config.
        loaders: Which of its loaders to check, such as ``('train_dataloader', 'val_dataloader')``.
        segmentation: Whether the config trains a segmentor; a detector otherwise.

    Returns:
        What was found. The findings may refuse the run.

    Raises:
        DataError: If files are missing, or if the config does not fit them.
    """
    sources = [source for loader in loaders for source in _sources(cfg, loader)]
    _check_paths(cfg, sources, segmentation)
    checked = CheckedData()
    coco: list[Source] = []
    images: dict[str, Sequence[str]] = {}
    for source in sources:
        classes = source.dataset.metainfo.get('classes')
        if isinstance(classes, str):
            raise DataError(
                f'{source.name}.metainfo.classes is the string {classes!r}; it must be a tuple of names. A tuple of '
                f'one name has a comma: classes=({classes!r},). A string names a text file with one class per line, '
                'and there is no such file.'
            )
        if segmentation and _loads_like(source.dataset, 'mmseg', 'BaseSegDataset', ('load_data_list',)):
            images[source.name] = _check_segmentation(cfg, source, checked.findings)
        elif not segmentation and _loads_like(
            source.dataset, 'mmdet', 'CocoDataset', ('load_data_list', 'parse_data_info')
        ):
            coco.append(source)
        elif not segmentation and _loads_like(source.dataset, 'mmdet', 'XMLDataset', ('load_data_list',)):
            check_xml_list(checked.findings, source.dataset, source.name)
    images.update(_check_coco(cfg, coco, checked))
    check_overlap(checked.findings, images)
    if not checked.findings.refuses:
        for source in sources:
            if source.dataset.metainfo.get('classes') is not None:
                check_num_classes(cfg.model, source.dataset.metainfo['classes'], source.name)
    return checked


def point_at_copies(cfg: Config, copies: Mapping[str, str]) -> None:
    """Makes every dataset and evaluator of a config read the corrected copies of annotation files.

    Args:
        cfg: Changed in place.
        copies: The path of each file's copy, by the file's path. Both are absolute.
    """
    for key in cfg:
        if key.endswith(('_dataloader', '_evaluator')):
            for node in walk(cfg[key]):
                given = node.get('ann_file')
                if isinstance(given, str) and given:
                    path = os.path.abspath(os.path.join(node.get('data_root') or '', given))
                    node.ann_file = copies.get(path, given)


def _sources(cfg: Config, loader: str) -> Iterator[Source]:
    if not cfg.get(loader):
        return
    with DATASETS.switch_scope_and_registry(cfg.default_scope) as registry:
        for path, node in datasets_of(cfg[loader].dataset, (loader, 'dataset')):
            name = '.'.join(path)
            kind = registry.get(node.type) if isinstance(node.type, str) else node.type
            if kind is None:
                raise DataError(f'{name}.type is {node.type!r}, which no imported package has registered.')
            if not (isinstance(kind, type) and issubclass(kind, BaseDataset)):
                continue
            arguments = {key: value for key, value in node.to_dict().items() if key != 'type'}
            try:
                dataset = kind(**arguments | {'pipeline': [], 'lazy_init': True})
            except (TypeError, ValueError, AssertionError, AttributeError, ImportError) as error:
                if raised_by_us(error):
                    raise
                raise DataError(f'{name} cannot be built: {_why(error, node)}') from error
            yield Source(name, loader, node, dataset)


def _why(error: Exception, node: ConfigDict) -> str:
    if 'is not a subset of classes' in str(error):  # BaseSegDataset.get_label_map, which lists them all
        return (
            f'its metainfo has classes that {node.type} does not have. For classes of your own set '
            f"type='BaseSegDataset'; {PAGE} shows how."
        )
    return str(error)


def _check_paths(cfg: Config, sources: Sequence[Source], segmentation: bool) -> None:
    missing: dict[str, str] = {}
    for source in sources:
        dataset = source.dataset
        paths = {f'data_prefix.{key}': path for key, path in dataset.data_prefix.items()}
        paths['ann_file'] = dataset.ann_file
        for key, path in paths.items():
            if path and not is_remote(path, getattr(dataset, 'backend_args', None)) and not os.path.exists(path):
                missing.setdefault(os.path.abspath(path), f'{source.name}.{key}')
    for loader in dict.fromkeys(source.loader for source in sources):
        key, path, backend_args = _evaluated(cfg, loader)
        if path and not is_remote(path, backend_args) and not os.path.exists(path):
            missing.setdefault(os.path.abspath(path), key)
    if not missing:
        return
    lines = ['the data of this config was not found. Looked for:']
    lines += [f'    {path}    ({key})' for path, key in missing.items()]
    if any('\\' in path for path in missing):
        lines += ['Backslashes do not separate folders on this machine: write / in the config.']
    roots = dict.fromkeys(str(source.cfg.get('data_root') or '.') for source in sources)
    layout = ADE20K_LAYOUT if segmentation else COCO_LAYOUT
    if any(not _loads_like(source.dataset, 'mmdet', 'CocoDataset', ()) for source in sources) and not segmentation:
        layout = '    what the dataset of the config reads, by its ann_file and data_prefix'
    # A dataset that only this package has may tell its own
    layout = next((dataset.LAYOUT for source in sources if hasattr(dataset := source.dataset, 'LAYOUT')), layout)
    lines += [f'Expected under the data root (--data-root, now {", ".join(roots)}):']
    lines += [layout]
    lines += [f'For other names of files and folders write a config of your own; {PAGE} shows how.']
    lines += ['Add --mini to train on small data that is made on the spot, with nothing to download.']
    raise DataError('\n'.join(lines))


def _evaluated(cfg: Config, loader: str) -> tuple[str, str | None, dict | None]:
    """Returns the key, path and file backend of the annotations that the evaluator of a loader reads."""
    key = loader.replace('_dataloader', '_evaluator')
    for node in walk(cfg.get(key)):
        if node.get('ann_file'):
            return f'{key}.ann_file', node.ann_file, node.get('backend_args')
    return key, None, None


def _loads_like(dataset: BaseDataset, scope: str, name: str, methods: Sequence[str]) -> bool:
    with DATASETS.switch_scope_and_registry(scope) as registry:
        base = registry.get(name)
    kind = type(dataset)
    return issubclass(kind, base) and all(getattr(kind, method) is getattr(base, method) for method in methods)


def _pipeline_value(node: ConfigDict, key: str) -> Any:
    """Returns an argument of the ``LoadAnnotations`` in a dataset's pipeline, or None."""
    for transform in walk(node.get('pipeline')):
        if transform.get('type') == 'LoadAnnotations' and key in transform:
            return transform[key]
    return None


def _loads_annotations(node: ConfigDict) -> bool:
    return any(transform.get('type') == 'LoadAnnotations' for transform in walk(node.get('pipeline')))


def _reads_no_labels(node: ConfigDict) -> bool:
    return any(transform.get('type') == 'LoadEmptyAnnotations' for transform in walk(node.get('pipeline')))


def _only_formats(cfg: Config, source: Source) -> bool:
    """Returns whether the results of a source are only written, not evaluated, so that no ground truth is needed."""
    evaluators = list(walk(cfg.get(source.loader.replace('_dataloader', '_evaluator'))))
    return any(evaluator.get('format_only') for evaluator in evaluators)


def _check_segmentation(cfg: Config, source: Source, findings: Findings) -> Sequence[str]:
    """Checks a dataset of images and label maps; returns the paths of its images."""
    maps = check_label_maps(
        findings,
        source.dataset,
        source.name,
        _pipeline_value(source.cfg, 'reduce_zero_label'),
        needs_maps=not _only_formats(cfg, source) or _loads_annotations(source.cfg),
        eight_bits=_loads_annotations(source.cfg),
        turns=turns_by_exif(source.cfg.get('pipeline')),
        loads_8_bits=loads_8_bits(source.cfg.get('pipeline')),
        ignored=ignored_by_heads(cfg.model),
    )
    classes = source.dataset.metainfo['classes']
    if source.loader == 'train_dataloader':
        check_trained_label(findings, cfg.model, classes, source.name, maps.has_255)
    else:
        evaluators = walk(cfg.get(source.loader.replace('_dataloader', '_evaluator')))
        check_evaluated_label(findings, cfg.model, evaluators, classes, source.name, maps.has_255)
    return maps.images


def _check_coco(cfg: Config, sources: Sequence[Source], checked: CheckedData) -> dict[str, list[str]]:
    """Checks each annotation file once, however many datasets and evaluators read it.

    Returns:
        The paths of the images of each dataset, by its name.
    """
    uses: dict[str, list[CocoUse]] = {}
    truths: list[tuple[Source, str]] = []  # files that evaluators read and their datasets do not
    for source in sources:
        dataset = source.dataset
        if not dataset.ann_file:
            raise DataError(f'{source.name} has no ann_file; it must name a COCO annotation file.')
        if is_remote(dataset.ann_file, dataset.backend_args):
            continue
        _, truth, backend_args = _evaluated(cfg, source.loader)
        local = truth and not is_remote(truth, backend_args)
        same = not truth or (local and os.path.samefile(truth, str(dataset.ann_file)))
        use = _coco_use(cfg, source, evaluates=bool(same))
        uses.setdefault(os.path.abspath(dataset.ann_file), []).append(use)
        if truth and local and not same:
            truth_use = replace(_coco_use(cfg, source, evaluates=True), dataset=None, needs_masks=False)
            uses.setdefault(os.path.abspath(truth), []).append(truth_use)
            if sum(s.loader == source.loader for s in sources) == 1:
                truths.append((source, truth))
    pipelines = {source.name: source.cfg.get('pipeline') for source in sources}
    files: dict[str, CheckedFile | None] = {}
    images: dict[str, list[str]] = {}
    for path, of_file in uses.items():
        files[path] = check_coco(checked.findings, path, of_file)
        if file := files[path]:
            for use in of_file:
                if use.name in file.images:
                    images[use.name] = [image for image, *_ in file.images[use.name]]
                    masks = use.needs_masks or use.evaluates_masks
                    check_image_files(
                        checked.findings,
                        path,
                        use.name,
                        file.images[use.name],
                        turns=turns_by_exif(pipelines[use.name]),
                        masks=masks,
                        eight_bits=loads_8_bits(pipelines[use.name]),
                    )
    checked.mends.update({path: file.mends for path, file in files.items() if file and file.mends})
    for source, truth in truths:
        read, evaluated = (files[os.path.abspath(path)] for path in (source.dataset.ann_file, truth))
        if read and evaluated and read.image_ids != evaluated.image_ids:
            checked.findings.add(
                'evaluator-of-other-images',
                Severity.REFUSES,
                truth,
                f'is {_evaluated(cfg, source.loader)[0]}, but {source.name} reads {source.dataset.ann_file}, which '
                'lists other images',
                'Give both the same file.',
                count=0,
            )
    return images


def _coco_use(cfg: Config, source: Source, *, evaluates: bool) -> CocoUse:
    evaluators = list(walk(cfg.get(source.loader.replace('_dataloader', '_evaluator'))))
    only_formats = _only_formats(cfg, source)
    evaluates = evaluates and bool(evaluators) and not only_formats
    return CocoUse(
        source.dataset,
        source.name,
        needs_masks=bool(_pipeline_value(source.cfg, 'with_mask')),
        evaluates=evaluates,
        evaluates_masks=evaluates and any('segm' in (evaluator.get('metric') or ()) for evaluator in evaluators),
        needs_annotations=not only_formats and not _reads_no_labels(source.cfg),
        reads_run_lengths=_pipeline_value(source.cfg, 'poly2mask') is not False,
        how_to_set_classes=lambda names: _how_to_set_classes(cfg, names),
    )


def _how_to_set_classes(cfg: Config, names: Sequence[str]) -> str:
    lines = [f'If the data is right, put these lines into a config of your own ({PAGE} has a complete one):']
    lines += [f'    _base_ = {os.path.abspath(cfg.filename)!r}'] if cfg.filename else []
    if len(names) > MANY_CLASSES:
        lines += ["    metainfo = dict(classes='classes.txt')"]
        lines += [f'    # with the {len(names)} names in that file, one per line, in this order: {first_few(names)}']
    else:
        lines += [f'    metainfo = dict(classes={tuple(names)!r})']
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for path, _ in datasets_of(cfg[loader].dataset, ('dataset',)) if cfg.get(loader) else ():
            if 'datasets' in path:  # a list in a config replaces that of its base as a whole
                lines += [f'    (and metainfo=metainfo in {loader}.{".".join(path)})']
            else:
                lines += [f'    {loader} = {_nested(path)}']
    lines += ['and train it with', f'    {num_classes_options(cfg.model, len(names))}']
    return '\n'.join(lines)


def _nested(path: NodePath) -> str:
    value = 'dict(metainfo=metainfo)'
    for key in reversed(path):
        value = f'dict({key}={value})'
    return value
