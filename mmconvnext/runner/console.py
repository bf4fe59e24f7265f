"""Keeps the terminal readable: MMEngine's long listings and warnings for its own developers go to the log file."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

# The beginnings of log messages that have a hundred lines or more, or that are meant for the developers of OpenMMLab's
# packages. Only the log file gets these messages
LISTINGS = (
    *('\n----', 'Config:\n', 'Hooks will be executed', 'Name of parameter', 'paramwise_options -- '),
    *('"FileClient" will be deprecated', '"HardDiskBackend" is the alias', 'Distributed training is not used'),
    'The prefix is not set in metric class',
)
# The beginnings of log messages that repeat the metrics of the final table, or that list the learning rate of each
# layer. In a training, only the log file gets them
DETAILS = (
    *('Evaluating ', 'bbox_mAP_copypaste', 'segm_mAP_copypaste', 'figures of pycocotools'),
    *(f'{kind} learning-rate decay' for kind in ('layer_wise', 'stage_wise', 'single')),
)
# The beginnings of the lines that pycocotools prints: first those of its results, then those about what it is doing
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
    ('Mean of empty slice', r'mmseg\.'),  # nothing can be evaluated; the rehearsal reports it
    (r'``build_\w+`` would be deprecated soon', r'mmseg\.'),
    ('`reduce_zero_label` will be deprecated', r'mmseg\.'),
    ('The shape of value will convert', r'mmengine\.structures'),
    ('torch.meshgrid: in an upcoming release', r'torch\.functional'),
    (r'std\(\): degrees of freedom is <= 0', r'mmdet\.'),  # SoftTeacher, of an image without boxes
    # MMEngine steps the schedule after each batch, even if the optimizer does not step: while batches are accumulated,
    # and while the student of Meta Pseudo Labels waits
    (r'Detected call of `scheduler\.step\(\)` before', r'mmengine\.'),
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
        A list. When the context ends, it holds the lines with pycocotools' results.
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
