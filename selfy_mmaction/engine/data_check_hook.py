# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Base of hooks that compare the model with the data before the first batch."""

from abc import abstractmethod
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from .data_parts import inner_datasets, inner_model


class DataCheckHook(Hook):
    """Base hook that calls :meth:`check` once per dataset before a runner reads it."""

    def __init__(self) -> None:
        self._checked: list[Any] = []

    @abstractmethod
    def check(self, model: nn.Module, dataset: Any) -> None:
        """Compare the model with a dataset, both without wrappers.

        Raises:
            ValueError: If they do not match.
        """

    def before_train(self, runner: Runner) -> None:
        """Check the training data and, if there is any, the validation data.

        Raises:
            ValueError: If an epoch has no complete batch, or the data do not match.
        """
        loop = runner.train_loop
        loader = runner.train_dataloader
        if hasattr(loader.dataset, '__len__') and not len(loader):
            raise ValueError(
                f'the training data have {len(loader.dataset)} clips, less than one '
                'batch per process, and incomplete batches are dropped, so nothing '
                'would be trained; reduce train_dataloader.batch_size'
            )
        if isinstance(loop, EpochBasedTrainLoop):
            _check_batch(loader)
        # mmaction2's MultiLoaderEpochBasedTrainLoop has multi_loaders.
        for each in getattr(loop, 'multi_loaders', [loader]):
            self._check_all(runner, each)
        if runner.val_loop is not None:
            self._check_all(runner, runner.val_dataloader)

    def before_val(self, runner: Runner) -> None:
        """Check the validation data."""
        self._check_all(runner, runner.val_dataloader)

    def before_test(self, runner: Runner) -> None:
        """Check the test data."""
        self._check_all(runner, runner.test_dataloader)

    def _check_all(self, runner: Runner, loader: DataLoader) -> None:
        model = inner_model(runner.model)
        for dataset in inner_datasets(loader.dataset):
            if not any(dataset is each for each in self._checked):
                self.check(model, dataset)
                self._checked.append(dataset)


def _check_batch(loader: DataLoader) -> None:
    """Refuse training data with fewer clips than a batch of all processes."""
    if loader.batch_size is None or not hasattr(loader.dataset, '__len__'):
        return
    clips, processes = len(loader.dataset), get_world_size()
    if clips < loader.batch_size * processes:
        on_each = f' on each of {processes} processes' * (processes > 1)
        fits = clips // processes
        fix = (
            f'set train_dataloader.batch_size={fits} or less'
            if fits
            else f'train on at most {clips} processes'
        )
        raise ValueError(
            f'the training data have {clips} clips, fewer than a batch of '
            f'{loader.batch_size} clips{on_each}; {fix}'
        )
