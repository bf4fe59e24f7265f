"""OpenCV on machines without a desktop."""

from importlib.metadata import packages_distributions, version


def check() -> None:
    """Imports cv2, as mmengine and mmcv are about to.

    Raises:
        ImportError: If a library of the desktop is missing, such as libGL.so.1. The message says which, and the
            command that installs the OpenCV that needs none.
    """
    try:
        import cv2  # noqa: F401  only whether it can be imported matters
    except ModuleNotFoundError:
        raise
    except ImportError as error:
        headless = 'opencv-python-headless'
        # A Linux distribution's own cv2 comes without metadata
        for installed in packages_distributions().get('cv2', [])[:1]:
            headless = f'{installed.removesuffix("-headless")}-headless=={version(installed)}'
        raise ImportError(
            f'This machine lacks a library with which OpenCV draws windows: {error}. Nothing here opens a window, '
            f'so take the build without them: `pip install --force-reinstall --no-deps {headless}`.'
        ) from error
