"""How to get an mmcv with compiled operators in place of the one installed."""

from importlib.metadata import PackageNotFoundError, version

# The distribution at hand: the one that has the operators, who installs its wheels, what building it needs.
DISTRIBUTIONS = {
    'onedl-mmcv': ('onedl-mmcv', 'onedl-mim', 'ninja setuptools'),
    'mmcv-lite': ('mmcv', 'openmim', "ninja wheel 'setuptools<81'"),
    'mmcv': ('mmcv', 'openmim', "ninja wheel 'setuptools<81'"),
}


def how_to_compile() -> str:
    """Returns, in sentences, the commands that give the mmcv at hand its compiled operators."""
    for installed, (compiled, installer, build_needs) in DISTRIBUTIONS.items():
        try:
            release = version(installed)
        except PackageNotFoundError:
            continue
        # Built in isolation neither package sees PyTorch, and both then leave the operators out in silence.
        return (
            f'For one, `pip uninstall {installed}`; then `pip install {installer}` and '
            f'`mim install {compiled}=={release}` if there is a wheel for your PyTorch, else '
            f'`pip install {build_needs}` and `pip install --no-build-isolation --no-cache-dir '
            f'{compiled}=={release}`, which takes a C++ compiler, a quarter of an hour, and a PyTorch that '
            'compiles as C++17, as 2.14 no longer does.'
        )
    return 'For one, install onedl-mmcv from a wheel or with `pip install --no-build-isolation onedl-mmcv`.'
