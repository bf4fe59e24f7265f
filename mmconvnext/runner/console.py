"""Keeps the terminal readable: MMEngine's long listings and warnings for its own developers go to the log file."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

# How log messages start that have a hundred lines or more, or that are for the developers of OpenMMLab's packages. Only
# the log file gets them
LISTINGS = (
    *('\n----', 'Config:\n', 'Hooks will be executed', 'Name of parameter', 'paramwise_options -- '),
    *('"FileClient" will be deprecated', '"HardDiskBackend" is the alias', 'Distributed training is not used'),
    'The prefix is not set in metric class',
)
# How log messages start that repeat the metrics of the table at the end, or list the learning rate of each layer. Only
# the log file of a training gets them
DETAILS = (
    *('Evaluating ', 'bbox_mAP_copypaste', 'segm_mAP_copypaste', 'figures of pycocotools'),
    *(f'{kind} learning-rate decay' for kind in ('layer_wise', 'stage_wise', 'single')),
)
# How the lines start that pycocotools prints: its results, and what it is doing
FIGURES = ('Evaluate annotation type', ' Average Precision', ' Average Recall')
PROGRESS = (
    *('loading annotations', 'Done (t=', 'Loading and preparing', 'DONE (t=', 'creating index', 'index created'),
    *('Running per image', 'Accumulating'),
)

# Warnings about the code of other packages, as pairs of message and module
FOREIGN_WARNINGS = (
    ('To copy construct from a tensor', r'mmdet\.'),
    (r'Warning: The (bbox|polygon) is out of bounds', r'mmengine\.visualization'),
    ('Default ``avg_non_ignore`` is False', r'mmseg\.'),
    ('For binary segmentation, we suggest using', r'mmseg\.'),
    (r'.* instance named of .* has been created, the method `get_instance`', r'mmengine\.'),
    ('The draw is False', r'mmseg\.'),
    ('Mean of empty slice', r'mmseg\.'),  # where nothing can be evaluated, which the rehearsal says
    (r'``build_\w+`` would be deprecated soon', r'mmseg\.'),
    ('`reduce_zero_label` will be deprecated', r'mmseg\.'),
    ('The shape of value will convert', r'mmengine\.structures'),
    ('torch.meshgrid: in an upcoming release', r'torch\.functional'),
    # MMEngine steps the schedule after each batch, also of those that are accumulated for a step of the optimizer
    (r'Detected call of `scheduler.step\(\)` before `optimizer.step\(\)`', r'mmengine\.'),
)


def only_to_file(logger: logging.Logger, openings: tuple[str, ...]) -> None:
    """Keeps log messages that start with one of ``openings`` out of the terminal. The log file gets all messages."""
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(lambda record: not record.getMessage().startswith(openings))


def hide_foreign_warnings() -> None:
    """Hides warnings that a user of this package can do nothing about, in this process and its data workers.

    Only the command line calls this. Importing the package changes no filter.
    """
    for message, module in FOREIGN_WARNINGS:
        warnings.filterwarnings('ignore', message, module=module)


@contextmanager
def hide_pycocotools() -> Iterator[list[str]]:
    """Keeps what pycocotools prints out of the terminal. What others print, such as a user's own dataset, is shown.

    Yields:
        A list that has the lines with pycocotools' results when the context has ended.
    """
    lines, figures = io.StringIO(), list[str]()
    try:
        with redirect_stdout(lines):
            yield figures
    finally:
        for line in lines.getvalue().splitlines():
            if line.startswith(FIGURES):
                figures.append(line)
            elif line and not line.startswith(PROGRESS):
                print(line, flush=True)
