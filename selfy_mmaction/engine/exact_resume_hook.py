# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Make a resumed training end like one that was not interrupted."""

import functools
import random
from collections.abc import Callable

import numpy as np
import torch
from mmaction.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader, Sampler


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Make training after an epoch's checkpoint depend only on the checkpoint.

    mmengine restores weights, optimizer and schedules, but not random states, and does
    not repeat an interrupted validation. This hook

    - seeds Python, numpy and torch at the start of each epoch from the training's seed
      and the epoch, and the data loader's workers also from rank and worker index. It
      therefore restarts the workers each epoch, even with ``persistent_workers``;
    - stores the sampler's seed, which is random if none is given;
    - runs the validation before resuming if the checkpoint does not record it as done
      (a checkpoint written for a new best score does).

    It supports epoch-based training, resumed with the same number of processes and
    workers. GPUs also require deterministic algorithms (``train.py --deterministic``).

    Example:
        >>> from mmaction.registry import HOOKS
        >>> import selfy_mmaction  # registers the hooks
        >>> custom_hooks = [dict(type='ExactResumeHook')]  # in a config
        >>> hook = HOOKS.build(custom_hooks[0])
        >>> hook.priority  # after the hook that saves checkpoints
        'LOWEST'
    """

    # Run after CheckpointHook has prepared the validation.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._validating = False
        self._meta = {}
        self._worker_init_fn = None

    def before_val(self, runner: Runner) -> None:
        """Mark checkpoints saved from now on as validated."""
        self._validating = True

    def after_val(self, runner: Runner) -> None:
        """Stop marking checkpoints as validated."""
        self._validating = False

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add whether the epoch is validated and the sampler's seed to ``meta``."""
        checkpoint['meta']['validated'] = self._validating
        sampler = _seeded_sampler(runner.train_dataloader)
        if sampler is not None:
            checkpoint['meta']['sampler_seed'] = sampler.seed

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep ``meta`` for :meth:`before_train`."""
        self._meta = checkpoint.get('meta') or {}

    def before_train(self, runner: Runner) -> None:
        """Restore the sampler's seed and repeat an interrupted validation."""
        loop = runner.train_loop
        if not isinstance(loop, EpochBasedTrainLoop):
            return
        self._worker_init_fn = runner.train_dataloader.worker_init_fn
        if runner.epoch == 0:
            return
        sampler = _seeded_sampler(runner.train_dataloader)
        if sampler is not None:
            sampler.seed = self._meta.get('sampler_seed', sampler.seed)
        # Checkpoints written without this hook lack this key.
        interrupted = self._meta.get('validated') is False
        if (
            interrupted
            and runner.val_loop is not None
            and runner.epoch >= loop.val_begin
            and (
                runner.epoch % loop.val_interval == 0
                or runner.epoch == runner.max_epochs
            )
        ):
            runner.logger.info(
                f'The checkpoint of epoch {runner.epoch} was saved before its '
                'validation, which runs now.'
            )
            for hook in runner.hooks:
                if isinstance(hook, CheckpointHook):
                    # Required to save the checkpoint again with a new best score.
                    hook.last_ckpt = runner.message_hub.get_info('last_ckpt')
            runner.val_loop.run()

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed all random number generators for the epoch."""
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return
        entropy = (runner.seed, runner.epoch)
        _seed(entropy)
        loader = runner.train_dataloader
        loader.worker_init_fn = functools.partial(
            _start_worker, self._worker_init_fn, (*entropy, get_rank())
        )
        # Persistent workers would keep their old random states.
        loader._iterator = None


def _seeded_sampler(loader: DataLoader) -> Sampler | None:
    for sampler in (loader.sampler, getattr(loader.batch_sampler, 'sampler', None)):
        if hasattr(sampler, 'seed') and hasattr(sampler, 'set_epoch'):
            return sampler
    return None


def _start_worker(
    first: Callable[[int], None] | None, entropy: tuple[int, ...], worker: int
) -> None:
    if first is not None:
        first(worker)
    _seed((*entropy, worker))


def _seed(entropy: tuple[int, ...]) -> None:
    """Seed from several numbers. Sums of them would repeat in other epochs."""
    (seed,) = np.random.SeedSequence(entropy).generate_state(1).tolist()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
