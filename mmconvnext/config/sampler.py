"""Lets a sampler that composes batches make them as large as the loader's."""

from mmengine.config import Config, ConfigDict

from mmconvnext.config.options import Options
from mmconvnext.errors import UserError


def match_sampler(cfg: Config, options: Options) -> None:
    """Sets the batch size of a training's sampler, which MMEngine leaves to the config, to the loader's.

    With another one the loader would cut the sampler's batches of labelled and unlabelled images elsewhere.

    Args:
        cfg: Changed in place.
        options: What the user set.

    Raises:
        UserError: If the options set both, and differently.
    """
    loader = cfg.get('train_dataloader') or ConfigDict()
    sampler = loader.get('sampler') or ConfigDict()
    if 'batch_size' not in sampler or 'batch_size' not in loader:
        return
    wanted = options.get('train_dataloader', 'sampler', 'batch_size')
    if wanted is not None and wanted != loader.batch_size:
        raise UserError(
            f'train_dataloader.sampler.batch_size={wanted} is not train_dataloader.batch_size={loader.batch_size}. Set '
            'the second alone; the first follows.',
            key='train_dataloader.sampler.batch_size',
        )
    sampler.batch_size = loader.batch_size
