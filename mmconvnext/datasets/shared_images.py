"""Finds images that are both learnt from and evaluated on."""

import os
from collections.abc import Iterable, Mapping

from mmconvnext.datasets.findings import EXAMPLES, Findings, Severity

TRAINING = 'train_dataloader'


def check_shared_images(findings: Findings, paths: Mapping[str, Iterable[str]]) -> None:
    """Says how many images of an evaluation are in the training too.

    Args:
        findings: Gets what was found.
        paths: Of the images of each data loader, by its key in the config.
    """
    learnt = {os.path.abspath(path) for path in paths.get(TRAINING, ())}
    for loader, given in paths.items():
        evaluated = dict.fromkeys(os.path.abspath(path) for path in given)
        shared = [path for path in evaluated if path in learnt]
        if loader != TRAINING and shared:
            finding = findings.add(
                'images-shared',
                Severity.CHANGES,
                loader,
                f'images are in {TRAINING} too',
                'What is evaluated on training images says nothing about other images.',
                count=len(shared),
                total=len(evaluated),
            )
            finding.examples = shared[:EXAMPLES]
