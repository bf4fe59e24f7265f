"""The embedded `mini` set: pictures of shapes, drawn on the spot, that a model learns in minutes.

A scene is a sky over a ground with one to six shapes laid on it. Classes differ by outline and,
with some overlap, by hue; place, size, rotation, light and occlusion vary, so that a model must
localise, classify and mask to score. Every scene is written twice: as COCO (boxes, masks, crowds)
and as ADEChallengeData2016 (label maps). No network, no clock, one seed.
"""

from __future__ import annotations

import colorsys
import io
import json
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from pycocotools import mask as rle

from mmconvnext.errors import UserError

FORMAT = 1  # Raise it with any change that alters a written byte, to tell older sets apart.
MANIFEST = 'mini.json'
LICENSE = {'id': 1, 'name': 'Apache-2.0', 'url': 'https://www.apache.org/licenses/LICENSE-2.0'}

MIN_SIDE = 64  # pixels; below, the smallest shapes no longer show what they are
DIAMETER = (0.15, 0.55)  # of a shape's circumscribed circle, in short sides of the image
MAX_OBJECTS = 6
MIN_VISIBLE = 0.4  # No object keeps less of its pixels than this: slivers teach nothing.
HUE_SPREAD = 0.06  # in turns; the hues of neighbouring classes overlap, so the outline must be seen
# Of every PERIOD images one has a crowd and one has nothing. The class of the first object cycles
# through all classes, so that the first seven images of a split hold every class, a crowd and an empty image.
PERIOD, CROWD, EMPTY = 12, 3, 6


# A shape is the distance of (u, v) from its outline, negative inside. The unit is the radius of the
# circumscribed circle; u points right and v down.


def disc(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The whole circle."""
    return np.hypot(u, v) - 1


def star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Five tips on the circle, plumper than a pentagram."""
    # Folding the angle, 0 at a tip and pi / 5 at a notch, leaves one straight edge of the ten.
    angle = np.abs((np.arctan2(u, -v) + math.pi / 5) % (2 * math.pi / 5) - math.pi / 5)
    return np.hypot(u, v) * np.cos(angle - math.pi / 3) - 0.5


def triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Equilateral, one tip up."""
    return np.maximum(v, math.sqrt(0.75) * np.abs(u) - v / 2) - 0.5


def square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Upright, its corners on the circle."""
    return np.maximum(np.abs(u), np.abs(v)) - math.sqrt(0.5)


def ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A mask with a hole, half as wide as the circle."""
    return np.abs(np.hypot(u, v) - 0.75) - 0.25


class Shape(NamedTuple):
    """A class of objects: its outline and the hue it usually has."""

    name: str
    distance: Callable[[np.ndarray, np.ndarray], np.ndarray]
    hue: float  # in turns


def color(hue: float, saturation: float, value: float) -> np.ndarray:
    """(3,) float32 RGB in [0, 1]; the hue is in turns and wraps around."""
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), np.float32)


SHAPES = (
    Shape('disc', disc, hue=0.02),
    Shape('star', star, hue=0.14),
    Shape('triangle', triangle, hue=0.38),
    Shape('square', square, hue=0.60),
    Shape('ring', ring, hue=0.82),
)
UNLABELLED, SKY, GROUND, FIRST_SHAPE = range(4)  # the values of a label map

DETECTION_CLASSES: tuple[str, ...] = tuple(shape.name for shape in SHAPES)
DETECTION_PALETTE: list[tuple[int, ...]] = [
    tuple((255 * color(shape.hue, 0.8, 0.9)).astype(int).tolist()) for shape in SHAPES
]
SEGMENTATION_CLASSES: tuple[str, ...] = ('sky', 'ground', *DETECTION_CLASSES)
SEGMENTATION_PALETTE: list[tuple[int, ...]] = [
    (158, 190, 214),
    (134, 116, 92),
    *DETECTION_PALETTE,
]


class Figure(NamedTuple):
    """A shape at a place in the image."""

    shape: Shape
    x: float  # of the centre, in pixels
    y: float
    radius: float  # in pixels
    angle: float  # in radians

    def window(self) -> tuple[slice, slice]:
        """The rows and columns that the shape and its shadow can touch."""
        reach = 1.4 * self.radius + 1
        top, left = max(0, int(self.y - reach)), max(0, int(self.x - reach))
        return slice(top, int(self.y + reach) + 1), slice(left, int(self.x + reach) + 1)

    def distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """How many pixels (x, y) lies outside; negative inside."""
        cos, sin = math.cos(self.angle) / self.radius, math.sin(self.angle) / self.radius
        dx, dy = x - self.x, y - self.y
        return self.radius * self.shape.distance(cos * dx + sin * dy, cos * dy - sin * dx)


class Instance(NamedTuple):
    """The object, or the crowd, that one annotation describes."""

    category: int  # into SHAPES
    pixels: int  # before anything covered it
    iscrowd: bool


class Scene:
    """A picture while it is being drawn, with its ground truth.

    image: (H, W, 3) float32 RGB in [0, 1].
    stuff: (H, W) uint8, SKY or GROUND, and UNLABELLED along the horizon.
    owner: (H, W) int64, i where one sees `instances[i - 1]`, 0 where one sees the backdrop.
    """

    def __init__(self, size: tuple[int, int], rng: np.random.Generator) -> None:
        """Makes a scene with nothing but a backdrop; `size` is (height, width)."""
        self.size = size
        self.rng = rng
        self.y, self.x = np.mgrid[: size[0], : size[1]].astype(np.float32)  # (H, W) each
        self.light = rng.uniform(-0.6, 0.6)  # radians from straight above
        self.grain = 0.02 * rng.standard_normal((*size, 3), np.float32)  # laid over everything
        self.owner = np.zeros(size, np.int64)
        self.instances: list[Instance] = []
        self._paint_backdrop()

    def _paint_backdrop(self) -> None:
        (height, width), uniform = self.size, self.rng.uniform
        across = self.x / width - 0.5
        waves = np.sin(2 * math.pi * (uniform(0.5, 2) * across + uniform()))
        horizon = height * (uniform(0.3, 0.7) + uniform(-0.15, 0.15) * across + 0.03 * waves)
        below = (self.y - horizon)[..., None]  # (H, W, 1), pixels

        zenith = color(uniform(0.52, 0.76), uniform(0.3, 0.55), uniform(0.45, 0.8))
        haze = color(uniform(-0.1, 0.12), uniform(0.02, 0.35), uniform(0.8, 0.98))  # rose to sand
        sky = zenith + (haze - zenith) * np.clip(1 + below / (0.6 * height), 0, 1)
        sky += 0.05 * _clouds(self.rng, self.size, 0.5 * height, 0.2 * height, 0.1 * height)

        hue = uniform(0.05, 0.4)  # from clay through sand to grass
        far, near = (color(hue, uniform(0.15, 0.4), uniform(0.3, 0.7)) for _ in range(2))
        ground = far + (near - far) * np.clip(below / (0.6 * height), 0, 1)
        ground += 0.12 * _clouds(self.rng, self.size, 0.2 * height, 0.06 * height, 4)

        self.image = sky + (ground - sky) * np.clip(0.5 + below, 0, 1)
        self.stuff = np.where(below[..., 0] < 0, SKY, GROUND).astype(np.uint8)
        self.stuff[np.abs(below[..., 0]) < max(1, height / 128)] = UNLABELLED

    def add(self, category: int, figures: Sequence[Figure], *, iscrowd: bool = False) -> bool:
        """Lays one instance, made of all `figures`, on top; returns False if it would hide an earlier one."""
        mask = np.zeros(self.size, bool)
        for figure in figures:
            window = figure.window()
            mask[window] |= figure.distance(self.x[window], self.y[window]) < 0
        visible = np.bincount(self.owner[~mask], minlength=len(self.instances) + 1)[1:]
        if np.any(visible < MIN_VISIBLE * np.array([other.pixels for other in self.instances])):
            return False
        for figure in figures:
            self._paint(figure)
        self.instances.append(Instance(category, int(mask.sum()), iscrowd))
        self.owner[mask] = len(self.instances)
        return True

    def _paint(self, figure: Figure) -> None:
        window, uniform = figure.window(), self.rng.uniform
        x, y, image = self.x[window], self.y[window], self.image[window]  # views of (h, w)
        right, down = math.sin(self.light), math.cos(self.light)  # where the light falls to
        drop = 0.15 * figure.radius
        shadow = figure.distance(x - drop * right, y - drop * down)[..., None] / (1 + 2 * drop)
        image *= 1 - 0.4 * np.clip(0.5 - shadow, 0, 1)

        distance = figure.distance(x, y)[..., None]  # (h, w, 1)
        rim = np.clip(1 + distance / (0.2 * figure.radius), 0, 1)  # 0 well inside, 1 at the outline
        lit = ((figure.x - x) * right + (figure.y - y) * down)[..., None] / figure.radius
        texture = _clouds(self.rng, x.shape, 16, 5)
        hue = figure.shape.hue + HUE_SPREAD * self.rng.normal()
        paint = color(hue, uniform(0.55, 0.85), uniform(0.7, 0.95))
        paint = paint * (1 + 0.2 * lit - 0.25 * rim**2 + 0.08 * texture)
        image += (paint - image) * np.clip(0.5 - distance, 0, 1)  # an edge one pixel wide

    def jpeg(self) -> bytes:
        """Returns the picture as a file, with colours at full resolution so that edges stay where the masks are."""
        pixels = np.clip(255 * (self.image + self.grain), 0, 255).astype(np.uint8)
        return _encode(pixels, format='JPEG', quality=92, subsampling=0)

    def label_map(self) -> np.ndarray:
        """(H, W) uint8: 0 is unlabelled, k is SEGMENTATION_CLASSES[k - 1]."""
        labels = self.stuff.copy()
        for number, instance in enumerate(self.instances, start=1):
            labels[self.owner == number] = FIRST_SHAPE + instance.category
        return labels

    def annotations(self) -> list[dict]:
        """COCO annotations of what is visible, still without `id` and `image_id`."""
        annotations = []
        for number, instance in enumerate(self.instances, start=1):
            mask = rle.encode(np.asfortranarray(self.owner == number, dtype=np.uint8))
            annotation = {
                'category_id': instance.category + 1,
                'iscrowd': int(instance.iscrowd),
                'bbox': rle.toBbox(mask).tolist(),  # x, y, width, height
                'area': int(rle.area(mask)),
                'segmentation': {'size': list(self.size), 'counts': mask['counts'].decode()},
            }
            annotations.append(annotation)
        return annotations


def draw_scene(size: tuple[int, int], index: int, rng: np.random.Generator) -> Scene:
    """Scene `index` of a split; `size` is (height, width)."""
    (height, width), short = size, min(size)

    def somewhere(inset: float) -> tuple[float, float]:
        return rng.uniform(inset, width - inset), rng.uniform(inset, height - inset)

    def lone(category: int) -> list[Figure]:
        radius = short * rng.uniform(*DIAMETER) / 2
        # With this inset at most a quarter of the diameter lies beyond the border.
        return [Figure(SHAPES[category], *somewhere(radius / 2), radius, rng.uniform(0, math.tau))]

    def cluster(category: int) -> list[Figure]:
        x, y = somewhere(0.18 * short)
        figures = []
        for _ in range(rng.integers(16, 29)):
            away, angle = 0.18 * short * math.sqrt(rng.uniform()), rng.uniform(0, math.tau)
            place = x + away * math.cos(angle), y + 0.7 * away * math.sin(angle)
            radius = short * rng.uniform(0.03, 0.045)
            figures.append(Figure(SHAPES[category], *place, radius, rng.uniform(0, math.tau)))
        return figures

    scene = Scene(size, rng)
    if index % PERIOD == EMPTY:
        return scene
    if index % PERIOD == CROWD:
        category = int(rng.integers(len(SHAPES)))
        scene.add(category, cluster(category), iscrowd=True)
    for nth in range(rng.integers(1, MAX_OBJECTS + 1)):
        category = int(rng.integers(len(SHAPES))) if nth else index % len(SHAPES)
        while not scene.add(category, lone(category)):
            pass  # It would have hidden another: try elsewhere.
    return scene


def write_mini(
    root: Path,
    *,
    train_images: int,
    val_images: int,
    image_size: tuple[int, int] = (192, 256),
    seed: int = 0,
) -> None:
    """Writes the set under `root`, unless the same set is already there.

    If files of the same set are missing, only these are written again.

    `image_size` is (height, width). Image k of a split depends on `seed`, `image_size` and k alone.

        coco/{train2017,val2017}/000000000001.jpg ...
        coco/annotations/instances_{train2017,val2017}.json
        ade/images/{training,validation}/ADE_{train,val}_00000001.jpg ...
        ade/annotations/{training,validation}/ADE_{train,val}_00000001.png ...
        mini.json    the arguments, by which the set is recognised

    Raises ValueError for arguments out of range, FileExistsError if `root` holds anything else, which stays as it is.
    """
    root, size = Path(root), tuple(image_size)
    if min(train_images, val_images) < 1:
        raise UserError(
            f'Each split of the mini set needs at least one image, but train_images={train_images} '
            f'and val_images={val_images}.'
        )
    if len(size) != 2 or min(size) < MIN_SIDE:
        raise UserError(f'image_size must be (height, width) with at least {MIN_SIDE} pixels each, not {size}.')
    if seed < 0:
        raise UserError(f'The seed of the mini set must not be negative, but it is {seed}.')
    counts = {'train_images': train_images, 'val_images': val_images}

    def write(staged: Path) -> None:
        _write_split(staged, 'train', 'training', train_images, size, (seed, 0))
        _write_split(staged, 'val', 'validation', val_images, size, (seed, 1))

    manifest = {'format': FORMAT, **counts, 'image_size': list(size), 'seed': seed}
    write_once(root, manifest, _files(train_images, val_images), write)


def write_once(root: Path, manifest: dict[str, Any], files: Iterable[str], write: Callable[[Path], None]) -> None:
    """Write a set under `root`; return at once if this very set already lies there, whole.

    Files that are missing from this very set are made again, and nothing else is touched.

    Args:
        root: Where the set goes.
        manifest: By which the set is recognised; written as `mini.json`.
        files: Names of its files.
        write: Writes them all to a folder.

    Raises FileExistsError if `root` holds anything else, which stays as it is.
    """
    found = _manifest(root)
    if root.exists() and found != manifest:
        whose = f'holds another mini set, {found}' if found else f'exists and has no {MANIFEST}'
        raise FileExistsError(
            f'{root} {whose}, where the mini set {manifest} was to be. It is left untouched: move the folder '
            'elsewhere, and the set is made again.'
        )
    if found and all((root / name).is_file() for name in files):
        return

    root.parent.mkdir(parents=True, exist_ok=True)
    # Written beside `root` and renamed, so that an interrupted write leaves nothing at `root`.
    with tempfile.TemporaryDirectory(prefix=f'.{root.name}-', dir=root.parent) as scratch:
        staged = Path(scratch, root.name)
        write(staged)
        (staged / MANIFEST).write_text(json.dumps(manifest))
        if found:
            _complete(root, staged)
            return
        try:
            staged.rename(root)
        except OSError:
            if _manifest(root) != manifest:  # Another process of the same run may have been first.
                raise


def _manifest(root: Path) -> dict | None:
    try:
        return json.loads((root / MANIFEST).read_text())
    except (OSError, ValueError):
        return None


def _complete(root: Path, staged: Path) -> None:
    for file in staged.rglob('*'):
        target = root / file.relative_to(staged)
        if file.is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)


def _files(train_images: int, val_images: int) -> Iterator[str]:
    for coco, ade, count in (('train', 'training', train_images), ('val', 'validation', val_images)):
        yield f'coco/annotations/instances_{coco}2017.json'
        for number in range(1, count + 1):
            yield f'coco/{coco}2017/{number:012d}.jpg'
            yield f'ade/images/{ade}/ADE_{coco}_{number:08d}.jpg'
            yield f'ade/annotations/{ade}/ADE_{coco}_{number:08d}.png'


def _write_split(root: Path, coco: str, ade: str, count: int, size: tuple[int, int], seed: tuple[int, int]) -> None:
    coco_images, coco_labels = root / 'coco' / f'{coco}2017', root / 'coco' / 'annotations'
    ade_images, ade_labels = root / 'ade' / 'images' / ade, root / 'ade' / 'annotations' / ade
    for folder in (coco_images, coco_labels, ade_images, ade_labels):
        folder.mkdir(parents=True, exist_ok=True)

    images: list[dict] = []
    annotations: list[dict] = []
    for number in range(1, count + 1):
        name, ade_name = f'{number:012d}.jpg', f'ADE_{coco}_{number:08d}'
        scene = draw_scene(size, number - 1, np.random.default_rng((*seed, number)))
        picture = scene.jpeg()
        (coco_images / name).write_bytes(picture)
        (ade_images / f'{ade_name}.jpg').write_bytes(picture)
        (ade_labels / f'{ade_name}.png').write_bytes(_encode(scene.label_map(), format='PNG'))
        sides = {'height': size[0], 'width': size[1]}
        images.append({'id': number, 'file_name': name, **sides, 'license': LICENSE['id']})
        for annotation in scene.annotations():
            # Ids start at 1: COCOeval takes an annotation whose id is 0 for no match.
            annotations.append({'id': len(annotations) + 1, 'image_id': number, **annotation})

    categories = [
        {'id': number, 'name': name, 'supercategory': 'shape'} for number, name in enumerate(DETECTION_CLASSES, start=1)
    ]
    info = {'description': f'mmconvnext mini, {coco}', 'version': str(FORMAT)}
    truth = {'info': info, 'licenses': [LICENSE], 'images': images, 'annotations': annotations}
    labels = json.dumps({**truth, 'categories': categories})
    (coco_labels / f'instances_{coco}2017.json').write_text(labels)


def _clouds(rng: np.random.Generator, size: tuple[int, int], *cells: float) -> np.ndarray:
    """(H, W, 1) float32 in about [-1, 1], knots `cell` pixels apart, each octave half as strong."""
    import cv2  # only where it is needed: importing the package loads no OpenCV

    clouds = np.zeros(size, np.float32)
    for octave, cell in enumerate(cells):
        knots = rng.uniform(-1, 1, [math.ceil(side / cell) + 1 for side in size])
        smooth = cv2.resize(knots.astype(np.float32), size[::-1], interpolation=cv2.INTER_CUBIC)
        clouds += 0.5**octave * smooth
    return clouds[..., None]


def _encode(pixels: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, **options)
    return buffer.getvalue()
