"""Packaging: what `pip install` needs to know, and the copy of configs and tools that `mim` looks for."""

import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
CARRIED = ('configs', 'tools', 'model-index.yml')

# What training and testing import beside the mm packages. The backbone alone needs none of it.
# OpenCV is left to mmcv: two of its distributions would install one cv2 over the other
TRAINING = ['matplotlib', 'pillow', 'pycocotools', 'pyyaml']


class BuildWithMim(build_py):
    """Puts configs, tools and the model index under ``mmconvnext/.mim``, where OpenMMLab's tools look for them."""

    def run(self) -> None:
        super().run()
        package = ROOT / 'mmconvnext' if self.editable_mode else Path(self.build_lib) / 'mmconvnext'
        mim = package / '.mim'
        shutil.rmtree(mim, ignore_errors=True)
        mim.mkdir(parents=True)
        for name in CARRIED:
            source, target = ROOT / name, mim / name
            if self.editable_mode:  # an edit of a config must show at once
                target.symlink_to(os.path.relpath(source, mim), target_is_directory=source.is_dir())
            elif source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__'))
            else:
                shutil.copy2(source, target)


setup(
    name='mmconvnext',
    version=re.search(r"'(.+)'", (ROOT / 'mmconvnext' / 'version.py').read_text())[1],
    description='ConvNeXt V1 and V2 backbones for MMDetection and MMSegmentation',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10,<3.14',
    packages=find_packages(include=['mmconvnext', 'mmconvnext.*']),
    cmdclass={'build_py': BuildWithMim},
    # The whole test suite passed with torch 2.6.0 and 2.14.1, each with the torchvision of the same release
    # (0.21.0 and 0.29.1): another pair breaks the import of torchvision
    install_requires=['torch>=2.6', 'torchvision>=0.21', 'numpy', 'tqdm', 'filelock', 'safetensors'],
    extras_require={
        # The maintained OpenMMLab packages, and the original ones. They share import names: install one of the two
        'onedl': [
            'onedl-mmengine>=0.10.12',
            'onedl-mmcv>=2.3.6',
            'onedl-mmdetection>=3.5.1',
            'onedl-mmsegmentation>=1.4.2',
            *TRAINING,
        ],
        'openmmlab': [
            'mmengine==0.10.7',
            'mmcv-lite==2.1.0',
            'mmdet==3.3.0',
            'mmsegmentation==1.2.2',
            'ftfy',
            'regex',
            'setuptools<81',  # mmengine 0.10.7 imports pkg_resources
            *TRAINING,
        ],
        'hub': ['huggingface_hub'],  # for checkpoint='hf-hub:...'
        'timm': ['timm>=1.0.31', 'huggingface_hub'],  # for backbones of type TimmFeatures
        'imagenet': ['timm>=1.0.31'],  # for tools/finetune.py and tools/evaluate.py
        'test': [
            'pytest',
            'pytest-xdist',
            'timm',
            'setuptools>=70.1',
        ],  # from 70.1 on, setuptools builds wheels by itself
        'peers': ['transformers>=5', 'mmpretrain==1.2.0'],  # for pytest -m peers
        'lint': ['ruff', 'mypy', 'import-linter'],
    },
    classifiers=[
        'License :: OSI Approved :: Apache Software License',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)
