"""Importing the package where some of the mm packages are not installed."""

import subprocess
import textwrap

import pytest

SCRIPT = textwrap.dedent("""
    import sys

    missing = sys.argv[1].split(',')

    class NotInstalled:
        def find_spec(self, name, path=None, target=None):
            if name.partition('.')[0] in missing:
                raise ModuleNotFoundError(f'No module named {name!r}', name=name)

    sys.meta_path.insert(0, NotInstalled())
    import mmconvnext
    import torch
    from mmengine.registry import MODELS

    backbone = MODELS.build(dict(type='ConvNeXt', arch=dict(depths=(1, 1, 1, 1), widths=(4, 8, 12, 16))))
    print([out.shape[1] for out in backbone(torch.randn(1, 3, 64, 96))])
""")


@pytest.fixture
def import_without(root, python):
    def run(*missing: str) -> subprocess.CompletedProcess:
        command = [python, '-c', SCRIPT, ','.join(missing)]
        return subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=240)

    return run


def test_without_mmengine_the_two_extras_are_named(import_without):
    run = import_without('mmengine')
    assert run.returncode != 0
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith('ImportError: mmconvnext needs MMEngine')
    assert "'mmconvnext[onedl]'" in last
    assert "'mmconvnext[openmmlab]'" in last
    assert run.stderr.count('Traceback') == 1


def test_a_module_that_mmengine_itself_lacks_keeps_its_name(import_without):
    run = import_without('addict')
    assert run.returncode != 0
    assert run.stderr.strip().splitlines()[-1] == "ModuleNotFoundError: No module named 'addict'"


def test_without_mmdet_mmseg_and_mmcv_the_backbone_runs(import_without):
    run = import_without('mmdet', 'mmseg', 'mmcv')
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == '[4, 8, 12, 16]'


def test_importing_what_is_below_the_runner_loads_no_plots_and_changes_no_warnings(root, python):
    """A user's program may choose its own plotting backend and its own warnings."""
    script = textwrap.dedent("""
        import importlib, pathlib, sys, warnings
        import mmengine.config, mmengine.dist, mmengine.logging, mmengine.model, mmengine.optim, mmengine.registry

        before = list(warnings.filters)
        layers = 'errors config_tree compat kernels backbones checkpoints optim datasets config deploy'.split()
        for path in sorted(pathlib.Path('mmconvnext').rglob('*.py')):
            name = '.'.join(path.with_suffix('').parts).removesuffix('.__init__')
            # The Triton kernels import Triton, which is not installed everywhere
            layer = f'{name}.'.split('.')[1]
            if layer in layers and path.stem != '__main__' and 'triton' not in name:
                importlib.import_module(name)
        print([n for n in ('matplotlib', 'cv2', 'timm', 'mmdet', 'mmseg', 'mmcv') if n in sys.modules])
        print([entry for entry in warnings.filters if entry not in before])
    """)
    run = subprocess.run([python, '-c', script], capture_output=True, text=True, cwd=root, timeout=240)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ['[]', '[]']
