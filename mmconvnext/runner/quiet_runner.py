"""MMEngine's runner with a readable terminal, whole checkpoints, and data that is tried before it is needed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import ConfigDict
from mmengine.dist import master_only
from mmengine.evaluator import Evaluator
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from mmconvnext.checkpoints.errors import CheckpointError
from mmconvnext.checkpoints.find_tensors import tensors_in
from mmconvnext.checkpoints.fit_detector import fit_detector
from mmconvnext.checkpoints.load import unwrap
from mmconvnext.checkpoints.locate import locate
from mmconvnext.checkpoints.read_file import read_file
from mmconvnext.config.processes import on_first
from mmconvnext.datasets.ignored_label import ignored_by_heads
from mmconvnext.datasets.listing import first_few, is_remote
from mmconvnext.errors import UserError, explain_refusals
from mmconvnext.runner.class_names import (
    classes_of_checkpoint,
    classes_of_dataset,
    compare,
    compare_datasets,
    order_of,
)
from mmconvnext.runner.console import LISTINGS, hide_pycocotools, only_to_file
from mmconvnext.runner.loading import check_labels, name_unreadable_files
from mmconvnext.runner.rehearsal import rehearse
from mmconvnext.runner.saving import LateRemovalCheckpointHook, say_once_if_full
from mmconvnext.whole_files import written_whole


class LoggingEvaluator(Evaluator):
    """MMEngine's evaluator, which also logs what pycocotools prints: the twelve figures of COCO."""

    def evaluate(self, size: int) -> dict[str, float]:
        """Returns the metrics of all results. The dataset has ``size`` images."""
        with hide_pycocotools() as figures:
            metrics = super().evaluate(size)
        if figures:
            MMLogger.get_current_instance().info('figures of pycocotools:\n' + '\n'.join(figures))
        return metrics


class QuietRunner(Runner):
    """MMEngine's runner, whose long listings go to the log file only, and which loads a checkpoint whole or not at all.

    Attributes:
        strict (bool): Whether a checkpoint must fill the heads too. A new training that starts from a checkpoint may
            have other heads.
    """

    strict = True
    # MMEngine's attributes: first a loop's settings, later the loop itself; None if the config has no such loop
    _train_loop: BaseLoop | dict | None
    _val_loop: BaseLoop | dict | None
    _test_loop: BaseLoop | dict | None

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Builds the logger and filters what it prints."""
        logger = super().build_logger(*args, **kwargs)
        only_to_file(logger, LISTINGS)
        say_once_if_full(logger)
        return logger

    def register_hook(self, hook: Hook | dict[str, Any], *args: Any, **kwargs: Any) -> None:
        """Registers a hook. MMEngine's CheckpointHook is replaced by one that keeps the last good checkpoint."""
        if isinstance(hook, dict) and hook.get('type') in ('CheckpointHook', CheckpointHook):
            hook = {**hook, 'type': LateRemovalCheckpointHook}
        super().register_hook(hook, *args, **kwargs)

    @master_only
    def save_checkpoint(
        self, out_dir: str, filename: str, file_client_args: dict | None = None, *args: Any, **kwargs: Any
    ) -> None:
        """Saves a checkpoint. A local file gets its name only when it is complete.

        Raises:
            UserError: If the operating system refuses to write it. Earlier checkpoints stay as they are.
        """
        if file_client_args or is_remote(out_dir, kwargs.get('backend_args')):
            with parts_unwrapped(unwrap(self.model)):
                super().save_checkpoint(out_dir, filename, file_client_args, *args, **kwargs)
            return
        with (
            written_whole(Path(out_dir, filename), 'Earlier checkpoints are intact; go on with --resume.') as part,
            parts_unwrapped(unwrap(self.model)),
        ):
            super().save_checkpoint(out_dir, part.name, None, *args, **kwargs)

    def build_evaluator(self, evaluator: Any) -> Evaluator:
        """Builds an evaluator. MMEngine's own class is replaced by one that logs what pycocotools prints."""
        built = super().build_evaluator(evaluator)
        return LoggingEvaluator(built.metrics) if type(built) is Evaluator else built

    @staticmethod
    def build_dataloader(dataloader: DataLoader | dict, *args: Any, **kwargs: Any) -> DataLoader:
        """Builds a data loader whose errors name the file that cannot be read. The config stays as it is."""
        if isinstance(dataloader, dict):
            dataloader = name_unreadable_files(dataloader)
        return Runner.build_dataloader(dataloader, *args, **kwargs)

    def prepare_loops(self, *kinds: str) -> None:
        """Builds loops with their data and evaluators, and tries a sample of the data. MMEngine later runs these loops.

        Args:
            kinds: Which loops to build: ``train``, ``val`` or ``test``. Those that the config lacks are passed over.

        Raises:
            UserError: If a dataset, sampler, evaluator or loop refuses its settings, or if a sample cannot be loaded
                or evaluated.
        """
        loops: dict[str, BaseLoop] = {}
        for kind, given, build in (
            ('train', self._train_loop, self.build_train_loop),
            ('val', self._val_loop, self.build_val_loop),
            ('test', self._test_loop, self.build_test_loop),
        ):
            if kind in kinds and given is not None:
                with (
                    explain_refusals(f'the config cannot be built: {kind}_dataloader, {kind}_cfg or the evaluator'),
                    hide_pycocotools(),
                ):
                    loops[kind] = build(given)
                _check_batches(kind, loops[kind].dataloader)
        self._train_loop = loops.get('train', self._train_loop)
        self._val_loop = loops.get('val', self._val_loop)
        self._test_loop = loops.get('test', self._test_loop)
        ignored = ignored_by_heads(self.cfg.get('model') or ConfigDict())
        for loop in loops.values():
            check_labels(loop.dataloader.dataset, ignored)
        on_first(lambda: _try_data(loops))

    def load_checkpoint(self, filename: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Loads a detector or segmentor whose backbone may have the names of any dialect.

        MMEngine's other arguments have no effect: a file is read to the CPU, and no code in it is run.

        Raises:
            CheckpointError: If the file cannot be read or does not fit, or if a test or a resumed training numbers its
                classes differently. The model is unchanged then.
        """
        content = read_file(locate(filename))
        model = unwrap(self.model)
        with parts_unwrapped(model):
            return self._load_content(model, content, filename)

    def _load_content(self, model: nn.Module, content: Any, filename: str) -> dict[str, Any]:
        taken = tensors_in(content, filename)
        # MMEngine would run the config's text in meta as Python code, and anybody may have written it
        meta = content.get('meta') if isinstance(content, Mapping) else None
        meta = {name: value for name, value in meta.items() if name != 'config'} if isinstance(meta, Mapping) else {}
        there, here = classes_of_checkpoint(meta), self._classes()
        try:
            fit = fit_detector(model, taken.tensors, filename, strict=self.strict)
        except CheckpointError as error:
            if there is None or here is None or len(there) == len(here):
                raise
            counts = f'It has {len(there)} classes, {first_few(there)}; the data has {len(here)}, {first_few(here)}.'
            raise CheckpointError(f'{error} {counts}', **error.facts, classes=there) from error
        fit.notes += taken.notes
        if self._resume:
            _check_training_state(content, filename)
        if there and here:
            self._compare_classes(there, here, filename)
        content = {**(content if isinstance(content, Mapping) else {}), 'meta': meta, 'state_dict': fit.state}
        self.call_hook('after_load_checkpoint', checkpoint=content)  # EMAHook may swap in averaged weights
        model.load_state_dict(content['state_dict'], strict=False)
        self._has_loaded = True
        self.logger.info(fit.report(filename))
        return content

    def _classes(self) -> tuple[str, ...] | None:
        """The class names of the data that this run trains or tests on; None before the data is built."""
        loops = [loop for loop in (self._train_loop, self._test_loop) if isinstance(loop, BaseLoop)]
        return classes_of_dataset(loops[0].dataloader.dataset) if loops else None

    def _compare_classes(self, there: Sequence[str], here: Sequence[str], source: str) -> None:
        """Compares the classes that a checkpoint was trained with to those of this run's data."""
        difference = compare(there, here)
        fine_tunes = isinstance(self._train_loop, BaseLoop) and not self._resume
        if difference.moved and not fine_tunes:
            raise CheckpointError(
                f'{source} was trained with another order of the classes: {difference}. Its results would be given '
                f'wrong names. Set the metainfo of the dataset to that of the checkpoint, {order_of(there)}.',
                moved=difference.moved,
                classes=there,
            )
        # Heads with another number of classes start from random weights. The report of the loaded tensors says so
        if (difference.moved or difference.renamed) and len(there) == len(here):
            meaning = 'the heads start from what they learnt about those' if fine_tunes else 'results get the new names'
            self.logger.warning(f'{source} was trained with other classes: {difference}; {meaning}')

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Resumes the training that wrote a checkpoint.

        Raises:
            CheckpointError: If it cannot be read, does not fit, or is of a training with another optimizer.
        """
        try:
            super().resume(filename, *args, **kwargs)
        except UserError:
            raise
        except ValueError as error:  # the optimizer compares its groups of parameters with those of the file
            raise CheckpointError(
                f'{filename} cannot be resumed with this config: {error}. Resume with the config that it was trained '
                f'with, or start from its weights alone: --cfg-options load_from={filename}'
            ) from error
        by_epoch = isinstance(self.train_loop, EpochBasedTrainLoop)
        if self.epoch >= self.max_epochs if by_epoch else self.iter >= self.max_iters:
            self.logger.info(
                f'{filename}: this training had already finished, after {self.iter} steps; nothing is left to train'
            )


@contextmanager
def parts_unwrapped(model: nn.Module) -> Iterator[None]:
    """Gives parts of a model their own names, where each part is in a wrapper for distributed training.

    A checkpoint has the names of the model without wrappers, whether it is saved or loaded.
    """
    wrapped = {name: part for name, part in model.named_children() if is_model_wrapper(part)}
    for name, part in wrapped.items():
        setattr(model, name, part.get_submodule('module'))
    try:
        yield
    finally:
        for name, part in wrapped.items():
            setattr(model, name, part)


def _check_batches(kind: str, loader: DataLoader) -> None:
    """Checks that a loader has a batch.

    Raises:
        UserError: If there are fewer images than one batch takes, and the loader leaves out incomplete batches.
    """
    dataset: Any = loader.dataset
    if len(loader) == 0 and len(dataset):
        key = f'{kind}_dataloader'
        raise UserError(
            f'{key}.dataset has {len(dataset)} images, fewer than {key}.batch_size={loader.batch_size}, and '
            f'drop_last leaves out an incomplete batch. Set {key}.batch_size to a smaller number.',
            images=len(dataset),
            batch_size=loader.batch_size,
        )


def _try_data(loops: Mapping[str, BaseLoop]) -> None:
    findings = compare_datasets({f'{kind}_dataloader.dataset': loop.dataloader.dataset for kind, loop in loops.items()})
    if table := findings.table():
        print(f'the data:\n{table}', flush=True)
    findings.refuse()
    for kind, loop in loops.items():
        findings = rehearse(f'{kind}_dataloader', loop.dataloader, getattr(loop, 'evaluator', None))
        if table := findings.table():
            print(f'the data, by a sample:\n{table}', flush=True)
        findings.refuse()


def _check_training_state(content: Mapping[str, Any], source: str) -> None:
    """Checks that a checkpoint holds what resuming needs besides the weights."""
    missing = [name for name in ('meta', 'message_hub', 'optimizer') if not isinstance(content.get(name), Mapping)]
    missing += [f'meta.{name}' for name in ('epoch', 'iter') if 'meta' not in missing and name not in content['meta']]
    if missing:
        raise CheckpointError(
            f'{source} cannot be resumed: it holds weights, but not the state of their training '
            f'({", ".join(missing)}). To start from these weights, use --cfg-options load_from={source}',
            missing=missing,
        )
