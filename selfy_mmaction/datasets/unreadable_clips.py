# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Policy for clips that cannot be read: stop, or train on another clip."""

import logging
import os
import threading
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dataset import Compose
from mmengine.dist import get_rank
from mmengine.logging import print_log

from selfy_mmaction.ops import check_choice, check_int, check_positive

from .reading import ReadingProcess, UnreadableError, read_clip, split_pipeline


class UnreadableClips:
    """Dataset mix-in with a policy for clips that cannot be decoded.

    The policy covers errors of transforms that read files. Errors of other transforms
    are raised unchanged.

    - ``'fail'`` raises an error that names the file.
    - ``'skip'`` uses the next readable clip of the list instead and does not try the
      unreadable one again. A warning counts the clips skipped by all workers of this
      rank. Every index yields a clip, so all ranks stay in step. Clips are read in a
      child process, because decoders may crash or hang. For training only: in a test,
      a substituted clip would change the result.

    Args:
        args: Arguments of the dataset.
        on_unreadable: ``'fail'`` or ``'skip'``. Default: ``'fail'``.
        max_unreadable: Number of clips that a rank may skip before it raises an error.
            Default: 100.
        reading_timeout: Seconds, above 0, after which a clip counts as unreadable with
            ``'skip'``. Default: 60.
        kwargs: Arguments of the dataset.

    Raises:
        ValueError: If an option is out of range, or ``'skip'`` is used in a test or on
            a system without ``os.fork``.
    """

    _process: ReadingProcess | None = None

    def __init__(
        self,
        *args,
        on_unreadable: str = 'fail',
        max_unreadable: int = 100,
        reading_timeout: float = 60,
        **kwargs,
    ) -> None:
        self.on_unreadable = check_choice(
            'on_unreadable', on_unreadable, ('fail', 'skip')
        )
        if on_unreadable == 'skip' and not hasattr(os, 'fork'):
            raise ValueError(
                "on_unreadable='skip' needs os.fork, which this system lacks; "
                "set on_unreadable='fail'"
            )
        self.max_unreadable = check_int(
            'max_unreadable', max_unreadable, least=0, most=10**9
        )
        check_positive('reading_timeout', reading_timeout)
        self.reading_timeout = min(reading_timeout, threading.TIMEOUT_MAX)
        super().__init__(*args, **kwargs)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if '_unreadable' in state and not self._unreadable.is_shared():
            self._unreadable.share_memory_()

    def full_init(self) -> None:
        """Load and check the annotation file."""
        if self._fully_initialized:
            return
        if self.test_mode and self.on_unreadable == 'skip':
            raise ValueError(
                "on_unreadable='skip' with test_mode=True would test on other clips "
                f'than those in {self.ann_file!r}; set '
                "on_unreadable='fail' and replace the unreadable files, or remove "
                'their lines and report it'
            )
        super().full_init()
        self._set_unreadable(torch.zeros(len(self), dtype=torch.bool))

    def _set_unreadable(self, unreadable: torch.Tensor) -> None:
        # Shared memory: all workers of this rank see and count the skipped clips.
        self._unreadable = unreadable.clone().share_memory_()

    def get_subset_(self, indices: Sequence[int] | int) -> None:
        """Keep some of the clips, see mmengine's ``BaseDataset``."""
        super().get_subset_(indices)
        self._set_unreadable(_take(self._unreadable, indices))

    def get_subset(self, indices: Sequence[int] | int) -> 'UnreadableClips':
        """Return a dataset of some of the clips, see mmengine's ``BaseDataset``."""
        subset = super().get_subset(indices)
        subset._set_unreadable(_take(self._unreadable, indices))
        return subset

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on a clip, or with ``'skip'`` on the next readable one.

        Raises:
            IndexError: If the clip does not exist.
            RuntimeError: If the clip, or with ``'skip'`` too many clips, cannot be
                read.
        """
        if not -len(self) <= idx < len(self):
            raise IndexError(
                f'clip {idx} does not exist; the dataset has {len(self)} clips'
            )
        if type(self.pipeline) is not Compose:  # as in mmaction2's browse_dataset.py
            return super().prepare_data(idx)
        reading, rest = split_pipeline(self.pipeline.transforms)
        results = self._read(idx, reading)
        for transform in rest:
            if results is None:  # mmengine then draws another clip
                return None
            results = transform(results)
        return results

    def _read(self, idx: int, reading: list) -> dict[str, Any] | None:
        if self.on_unreadable == 'fail':
            try:
                return read_clip(reading, self.get_data_info(idx))
            except UnreadableError as error:
                fix = f'replace it or remove its line from {self.ann_file!r}'
                if not self.test_mode:
                    fix += ", or set on_unreadable='skip' to train without it"
                raise RuntimeError(
                    f'video {self._path(idx)!r} could not be read ({error}); if it is '
                    f'damaged, {fix}'
                ) from error
        if self._process is None or self._process.transforms != reading:
            self._process = ReadingProcess(reading, self.reading_timeout)
        for step in range(len(self)):
            index = (idx + step) % len(self)
            if self._unreadable[index]:
                continue
            try:
                return self._process.read(self.get_data_info(index))
            except UnreadableError as error:
                self._skip(index, error)
        raise RuntimeError(f'no video of {self.ann_file!r} can be read')

    def _skip(self, idx: int, error: UnreadableError) -> None:
        self._unreadable[idx] = True
        unreadable = self._unreadable.nonzero().flatten().tolist()
        if len(unreadable) > self.max_unreadable:
            first = ', '.join(repr(self._path(i)) for i in unreadable[:5])
            raise RuntimeError(
                f'{len(unreadable)} videos of {self.ann_file!r} could not be read, '
                f'more than max_unreadable={self.max_unreadable}, including {first}; '
                f'last error: {error}'
            ) from error
        print_log(
            f'rank {get_rank()}: video {self._path(idx)!r} could not be read '
            f'({error}); using the next one in the list instead; '
            f'{len(unreadable)} of {len(self)} skipped so far',
            logger='current',
            # Ranks other than 0 log only errors.
            level=logging.WARNING if get_rank() == 0 else logging.ERROR,
        )

    def _path(self, idx: int) -> str:
        info = self.get_data_info(idx)
        return info.get('filename') or info['frame_dir']


def _take(values: torch.Tensor, indices: Sequence[int] | int) -> torch.Tensor:
    if isinstance(indices, int):
        return values[:indices] if indices >= 0 else values[indices:]
    return values[list(indices)]
