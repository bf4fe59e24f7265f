"""Measures the check of an annotation file of COCO's size: 118,287 images, 860,001 annotations with polygons.

    python -m benchmarks.data_check

makes the file in a temporary folder, with empty images, and prints the seconds and the peak memory of the process.
"""

import argparse
import json
import random
import resource
import tempfile
import time
from importlib import import_module
from pathlib import Path

from mmengine.config import Config

import mmconvnext
from mmconvnext.config.data_root import set_data_root
from mmconvnext.datasets.checks import check_data

CONFIG = Path(mmconvnext.__file__).parents[1] / 'configs/detection/mask_rcnn_convnext_t_3x.py'


def make(root: Path, images: int, annotations: int, classes: tuple[str, ...]) -> Path:
    """Writes an annotation file whose polygons have 20 to 60 numbers, and empty files as images."""
    draw = random.Random(0)
    folder = root / 'train2017'
    folder.mkdir()
    path = root / 'annotations/instances_train2017.json'
    path.parent.mkdir()
    with path.open('w') as file:
        file.write('{"info": {"year": 2017}, "images": [')
        for index in range(images):
            name = f'{index:012d}.jpg'
            (folder / name).touch()
            image = dict(
                license=3, file_name=name, height=480, width=640, date_captured='2013-11-14 11:18:45', id=index
            )
            urls = dict(coco_url=f'http://images.cocodataset.org/train2017/{name}', flickr_url=f'http://farm/{name}')
            file.write(', ' * bool(index) + json.dumps(image | urls))
        file.write('], "annotations": [')
        for index in range(annotations):
            x, y, w, h = box = [round(draw.uniform(2, 300), 2) for _ in range(2)] + [150.17, 120.33]
            points = [round(v + draw.random() * s, 2) for _ in range(draw.randint(10, 30)) for v, s in ((x, w), (y, h))]
            annotation = dict(
                segmentation=[points], area=9021.5573, iscrowd=0, image_id=draw.randrange(images), bbox=box
            )
            annotation |= dict(category_id=1 + index % len(classes), id=index + 1)
            file.write(', ' * bool(index) + json.dumps(annotation))
        categories = [dict(supercategory='thing', id=1 + index, name=name) for index, name in enumerate(classes)]
        file.write(f'], "categories": {json.dumps(categories)}}}')
    return path


def main() -> None:
    """Makes the file, checks it, and prints what that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=118_287)
    parser.add_argument('--annotations', type=int, default=860_001)
    args = parser.parse_args()
    import_module('mmdet.datasets')  # the check would import it, which is not to be timed
    cfg = Config.fromfile(CONFIG)
    with tempfile.TemporaryDirectory() as folder:
        classes = tuple(f'class {index}' for index in range(80))
        path = make(Path(folder), args.images, args.annotations, classes)
        set_data_root(cfg, Path(folder))
        cfg.train_dataloader.dataset.metainfo = dict(classes=classes)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        start, start_of_work = time.perf_counter(), time.process_time()
        checked = check_data(cfg, ('train_dataloader',), segmentation=False)
        seconds, work = time.perf_counter() - start, time.process_time() - start_of_work
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f'file              {path.stat().st_size / 2**20:6.0f} MiB')
        print(f'check             {seconds:6.1f} s, of which {work:.1f} s on the processor')
        print(f'peak memory       {peak:6.2f} GiB, of which {before:.2f} GiB before the check')
        print(checked.findings.table() or 'nothing found')


if __name__ == '__main__':
    main()
