# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Let an interrupted and resumed training end like one that was not interrupted."""

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
    """Make what follows an epoch's checkpoint depend on nothing but the checkpoint.

    mmengine restores weights, optimizer and schedules, but no random numbers, and it
    validates no epoch again whose validation was interrupted. This hook

    - seeds Python, numpy and torch at the start of each epoch from the training's seed
      and the epoch, and the data loader's workers from rank and worker, too. For that
      workers are started anew each epoch, ``persistent_workers`` or not;
    - keeps the sampler's seed, which is drawn where none is given;
    - validates first when a training is resumed from a checkpoint whose validation was
      not recorded as done (one in which it improved on the best is).

    For epoch-based trainings, resumed with the same number of processes and workers. On
    GPUs it takes deterministic algorithms as well (``train.py --deterministic``).
    """

    # After CheckpointHook has prepared itself for the validation.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._validating = False
        self._meta = {}
        self._worker_init_fn = None

    def before_val(self, runner: Runner) -> None:
        """Remember that what is saved now was validated."""
        self._validating = True

    def after_val(self, runner: Runner) -> None:
        """Until the end of the validation."""
        self._validating = False

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add what mmengine does not keep to ``meta``."""
        checkpoint['meta']['validated'] = self._validating
        sampler = _seeded_sampler(runner.train_dataloader)
        if sampler is not None:
            checkpoint['meta']['sampler_seed'] = sampler.seed

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember it, should this be a resumed training."""
        self._meta = checkpoint.get('meta') or {}

    def before_train(self, runner: Runner) -> None:
        """Restore the sampler's seed and make up for an interrupted validation."""
        loop = runner.train_loop
        if not isinstance(loop, EpochBasedTrainLoop):
            return
        self._worker_init_fn = runner.train_dataloader.worker_init_fn
        if runner.epoch == 0:
            return
        sampler = _seeded_sampler(runner.train_dataloader)
        if sampler is not None:
            sampler.seed = self._meta.get('sampler_seed', sampler.seed)
        # Checkpoints written without this hook do not say.
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
                f'The checkpoint of epoch {runner.epoch} was written before its '
                'validation, which is done now.'
            )
            for hook in runner.hooks:
                if isinstance(hook, CheckpointHook):
                    # Only then it writes the checkpoint again with a new best score.
                    hook.last_ckpt = runner.message_hub.get_info('last_ckpt')
            runner.val_loop.run()

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed all random numbers of the epoch."""
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return
        entropy = (runner.seed, runner.epoch)
        _seed(entropy)
        loader = runner.train_dataloader
        loader.worker_init_fn = functools.partial(
            _start_worker, self._worker_init_fn, (*entropy, get_rank())
        )
        # Workers that persist would go on with their old random numbers.
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
    """Seed from several numbers; sums of them would meet in other epochs."""
    (seed,) = np.random.SeedSequence(entropy).generate_state(1).tolist()
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
