"""How to get an mmcv with compiled operators in place of the one installed."""

from importlib.metadata import PackageNotFoundError, version

# By the distribution that is installed without them: the one that has them, its installer, what its build needs.
_COMPILED = {
    'onedl-mmcv': ('onedl-mmcv', 'onedl-mim', 'ninja setuptools'),
    'mmcv-lite': ('mmcv', 'openmim', "ninja 'setuptools<81' wheel"),
    'mmcv': ('mmcv', 'openmim', "ninja 'setuptools<81' wheel"),
}


def how_to_compile() -> str:
    """Return, as sentences, the commands that install compiled operators for the mmcv at hand."""
    for installed, (compiled, installer, build_needs) in _COMPILED.items():
        try:
            wanted = f'{compiled}=={version(installed)}'
        except PackageNotFoundError:
            continue
        return (
            f'To get the compiled operators, first `pip uninstall {installed}`. '
            f'`pip install {installer} && mim install {wanted}` then takes a wheel made for your PyTorch, if there is one. '
            f'`pip install {build_needs} && pip install --no-build-isolation --no-cache-dir {wanted}` builds them, given '
            'a C++ compiler and a PyTorch whose headers are still C++17 (2.12 has them, 2.14 does not).'
        )
    return ...
