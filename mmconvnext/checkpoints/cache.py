"""Where downloaded checkpoints are kept."""

from pathlib import Path

import torch


def cache_folder() -> Path:
    """Folder of downloads, that of torch.hub."""
    return Path(torch.hub.get_dir()) / 'checkpoints'
