"""Checks the list of images that datasets in Pascal VOC's format read."""

import os
from pathlib import Path

from mmengine.dataset import BaseDataset

from mmconvnext.datasets.findings import EXAMPLES, Findings, Severity
from mmconvnext.datasets.listing import absent, is_remote


def check_xml_list(findings: Findings, dataset: BaseDataset, name: str) -> None:
    """Checks that a list names images, and that each has its XML file and its image; the XML is not read.

    Args:
        findings: Gets what was found.
        dataset: An ``XMLDataset``, such as ``VOCDataset``, that has not loaded anything yet.
        name: What the config calls it, such as ``train_dataloader.dataset``.
    """
    path, folder = str(dataset.ann_file), dataset.sub_data_root
    if not path or any(is_remote(part, dataset.backend_args) for part in (path, folder)):
        return
    try:
        lines = Path(path).read_text(encoding='utf-8').splitlines()
    except UnicodeDecodeError:
        lines = ['\0']
    reads = f'{type(dataset).__name__} of {name} reads a text file with one image name per line, without suffix'
    if lines and lines[0].lstrip()[:1] in ('{', '[', '<', '\0'):
        findings.add(
            'xml-list',
            Severity.REFUSES,
            path,
            f'is no list of images: {reads}',
            "For a COCO annotation file set type='CocoDataset'.",
            count=0,
        )
        return
    for sub, suffix, kind in ((dataset.ann_subdir, '.xml', 'XML file'), (dataset.img_subdir, '.jpg', 'image')):
        missing = absent(os.path.join(folder, sub, f'{line}{suffix}') for line in lines)
        if missing:
            finding = findings.add(
                f'xml-list-{suffix[1:]}',
                Severity.REFUSES,
                path,
                f'lines have no {kind}',
                f'{reads}; folders are data_prefix.sub_data_root, {dataset.ann_subdir} and {dataset.img_subdir}.',
                count=len(missing),
                total=len(lines),
            )
            finding.examples = missing[:EXAMPLES]
