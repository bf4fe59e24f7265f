"""A folder with a folder of images for each class, as ImageNet is unpacked."""

import os
from typing import Any

from mmengine.registry import DATASETS
from torchvision.datasets.folder import make_dataset

from mmconvnext.datasets.errors import DataError
from mmconvnext.datasets.image_map_pairs import IMAGES
from mmconvnext.datasets.listing import first_few
from mmconvnext.runner.skipped_images import PassingOverDataset

LAYOUT = """\
    train/<class>/*.jpg    a folder for each class, such as n01440764
    val/<class>/*.jpg      the same folders"""
SORT_IMAGENET = """\
    python -c "import torchvision; torchvision.datasets.ImageNet('FOLDER', split='val')"
where FOLDER has ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz (this needs scipy)"""


@DATASETS.register_module()
class ClassFolders(PassingOverDataset):
    """Images in a folder for each class. The number of a class is its place among the sorted names of the folders.

    For ImageNet's synsets, ``n01440764`` and so on, that is the numbering of all published weights. An image that
    cannot be read does not end a training: the next one takes its place. Evaluations leave its sample out.

    Args:
        data_prefix: ``img_path``, the folder of the classes.
        metainfo: With ``classes``, the names of the folders in the order of their numbers, or a text file that lists
            them; some of the folders may then be missing. By default the folders that are there decide.
        lazy_init: As of MMEngine's ``BaseDataset``.
        kwargs: Those of ``BaseDataset``, such as ``data_root`` and ``pipeline``.

    Raises:
        DataError: If there are no folders of classes, or one is empty, or one is not among ``classes``.
    """

    LAYOUT = LAYOUT

    def __init__(
        self,
        data_prefix: dict | None = None,
        metainfo: dict | None = None,
        lazy_init: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(metainfo=metainfo, data_prefix=data_prefix or dict(img_path=''), lazy_init=True, **kwargs)
        self._named = 'classes' in self._metainfo
        if os.path.isdir(self.data_prefix['img_path']):
            self._metainfo['classes'] = self._classes()
        if not lazy_init:
            self.full_init()

    def load_data_list(self) -> list[dict[str, Any]]:
        """Returns path and class of each image, sorted by class and name."""
        folder = self.data_prefix['img_path']
        classes = self._metainfo.get('classes') or ()
        numbers = {name: number for number, name in enumerate(classes) if os.path.isdir(os.path.join(folder, name))}
        if not numbers:
            raise DataError(f'{folder} has no folders of classes. Expected:\n{LAYOUT}', path=folder)
        found = make_dataset(folder, numbers, extensions=IMAGES, allow_empty=True)
        empty = sorted(numbers.keys() - {classes[label] for _, label in found})
        if empty:
            raise DataError(
                f'{folder} has {len(empty)} folders without an image: {first_few(empty)}. Images end in '
                f'{", ".join(IMAGES)}. Fill or remove these folders; the number of a class depends on them.',
                path=folder,
                empty=empty,
            )
        return [dict(img_path=path, gt_label=label) for path, label in found]

    def _classes(self) -> tuple[str, ...]:
        """The names of the classes, which the folders are checked against if the config gives them."""
        folder = self.data_prefix['img_path']
        with os.scandir(folder) as entries:
            listed = list(entries)
        # Hidden folders, which file managers and notebooks make, would shift the numbers of all classes
        folders = sorted(entry.name for entry in listed if entry.is_dir() and not entry.name.startswith('.'))
        if not folders:
            images = [entry.name for entry in listed if entry.name.lower().endswith(IMAGES)]
            if images:
                raise DataError(
                    f'{folder} has {len(images)} images side by side ({first_few(sorted(images))}), and no folder for '
                    "each class, so their classes are not known. ImageNet's validation images come so; this sorts "
                    f'them:\n{SORT_IMAGENET}',
                    path=folder,
                    images=len(images),
                )
            raise DataError(f'{folder} has no folders of classes. Expected:\n{LAYOUT}', path=folder)
        if not self._named:
            return tuple(folders)
        named = self._metainfo['classes']
        classes = (named,) if isinstance(named, str) else tuple(named)
        unknown = [name for name in folders if name not in set(classes)]
        if unknown:
            raise DataError(
                f'{folder} has folders that are not among metainfo.classes: {first_few(unknown)}. Name each folder as '
                'its class.',
                path=folder,
                unknown=unknown,
            )
        return classes
