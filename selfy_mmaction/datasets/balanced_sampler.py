# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Sampler that draws all classes equally often."""

from collections import defaultdict
from collections.abc import Iterator, Sized

import torch
from mmaction.registry import DATA_SAMPLERS
from mmengine.dataset import DefaultSampler
from mmengine.logging import print_log


@DATA_SAMPLERS.register_module()
class BalancedSampler(DefaultSampler):
    """``DefaultSampler`` that draws all classes of the training data equally often.

    An epoch has as many clips as with ``DefaultSampler``; the counts of two classes
    differ by at most 1. Clips of a class do not repeat before all of them were drawn,
    so an epoch has clips of large classes at most once and of small ones several times.
    The order depends only on seed and epoch, like that of ``DefaultSampler``.

    To switch it on: ``--cfg-options train_dataloader.sampler.type=BalancedSampler``.

    Args:
        dataset: Dataset with ``get_cat_ids``, as ours have. A clip with several labels
            counts for each of them.
        shuffle: Must be True. Default: True.
        seed: Random seed, equal on all processes. Default: None, a random one.
        round_up: Whether each process draws equally many clips. Default: True.

    Raises:
        TypeError: If the dataset has no ``get_cat_ids``.
        ValueError: If ``shuffle`` is False, or no clip has a label.

    Example:
        >>> from selfy_mmaction.datasets import BalancedSampler
        >>> class Clips(list):
        ...     def get_cat_ids(self, index):
        ...         return [self[index]]
        >>> clips = Clips(['walk', 'walk', 'walk', 'fall'])
        >>> sampler = BalancedSampler(clips, seed=0)
        >>> sorted(clips[index] for index in sampler)
        ['fall', 'fall', 'walk', 'walk']
    """

    def __init__(
        self,
        dataset: Sized,
        shuffle: bool = True,
        seed: int | None = None,
        round_up: bool = True,
    ) -> None:
        if not shuffle:
            raise ValueError(
                f'BalancedSampler draws at random and cannot use shuffle={shuffle}; '
                'use it for training only, and DefaultSampler for other data'
            )
        if not hasattr(dataset, 'get_cat_ids'):
            raise TypeError(
                f'BalancedSampler needs the labels, but {type(dataset).__name__} has '
                'no get_cat_ids; use CheckedVideoDataset or CheckedRawframeDataset, '
                'or DefaultSampler'
            )
        super().__init__(dataset, shuffle=True, seed=seed, round_up=round_up)
        clips_of = defaultdict(list)
        for index in range(len(dataset)):
            for label in dataset.get_cat_ids(index):
                clips_of[label].append(index)
        if not clips_of:
            raise ValueError('BalancedSampler needs labels, but no clip has one')
        self._clips = [torch.tensor(clips_of[label]) for label in sorted(clips_of)]
        counts = [len(clips) for clips in self._clips]
        print_log(
            f'BalancedSampler draws {self.total_size / len(counts):.1f} clips per '
            f'class and epoch; the classes have {min(counts)} to {max(counts)} clips.',
            logger='current',
        )

    def __iter__(self) -> Iterator[int]:
        """Iterate over the indices of this process."""
        generator = torch.Generator()
        generator.manual_seed(self.seed + self.epoch)

        def shuffle(values: torch.Tensor) -> torch.Tensor:
            return values[torch.randperm(len(values), generator=generator)]

        # Which classes get one clip more is random, too.
        order = shuffle(torch.arange(len(self._clips))).tolist()
        fewest, more = divmod(self.total_size, len(order))
        drawn = []
        for place, label in enumerate(order):
            wanted = fewest + (place < more)
            clips = self._clips[label]
            rounds, rest = divmod(wanted, len(clips))
            drawn += [shuffle(clips) for _ in range(rounds)]
            drawn.append(shuffle(clips)[:rest])
        indices = shuffle(torch.cat(drawn)).tolist()
        return iter(indices[self.rank : self.total_size : self.world_size])
