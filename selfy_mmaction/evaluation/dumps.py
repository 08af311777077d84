# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Safe reader of predictions written by mmaction2's ``test.py --dump``."""

import codecs
import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

# Keys with the source of a clip that PackActionInputs may keep.
NAME_KEYS = ('filename', 'frame_dir', 'video_id', 'img_key')
# Largest error of a sum of probabilities in half precision.
_TOLERANCE = 0.01


class Dump(NamedTuple):
    """Predictions for N clips and C classes.

    Attributes:
        path: Path of the file.
        scores: (N, C), as in the file.
        labels: (N,), int.
        names: Source of each clip, such as ``{'filename': 'a/7.webm'}``; empty if
            unknown.
    """

    path: str
    scores: np.ndarray
    labels: np.ndarray
    names: list[dict[str, str]]

    @property
    def holds_probabilities(self) -> bool:
        """Whether the scores of each clip are nonnegative and sum to 1."""
        sums = self.scores.sum(axis=1, dtype=float)
        return bool((self.scores >= 0).all() and (abs(sums - 1) < _TOLERANCE).all())


class _DumpUnpickler(pickle.Unpickler):
    """Unpickler that loads only tensors and arrays."""

    def find_class(self, module: str, name: str) -> Any:
        # numpy 1 writes numpy.core, and numpy 2 writes numpy._core.
        known = f'{module.replace("numpy._core", "numpy.core")}.{name}'
        if known not in _CONSTRUCTORS:
            raise pickle.UnpicklingError(
                f'it contains {module}.{name}, which is not part of a dump; no code of '
                'the file was run'
            )
        return _CONSTRUCTORS[known]


def _load_storage(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), map_location='cpu', weights_only=True)


def _encode(text: str, encoding: str) -> bytes:
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'it contains bytes encoded as {encoding!r}')
    return codecs.encode(text, encoding)


_CONSTRUCTORS = {
    'collections.OrderedDict': OrderedDict,
    '_codecs.encode': _encode,
    'torch._utils._rebuild_tensor_v2': torch._utils._rebuild_tensor_v2,
    'torch.storage._load_from_bytes': _load_storage,
    'numpy.ndarray': np.ndarray,
    'numpy.dtype': np.dtype,
    'numpy.core.multiarray._reconstruct': np.zeros(0).__reduce__()[0],
    'numpy.core.multiarray.scalar': np.float64(0).__reduce__()[0],
    'numpy.core.numeric._frombuffer': np.zeros(0).__reduce_ex__(5)[0],
}


def load_dump(path: str | os.PathLike) -> Dump:
    """Read a pickle file of predictions written by ``test.py --dump``.

    Raises:
        OSError: If the file cannot be opened.
        pickle.UnpicklingError: If the file is truncated or would run code.
        ValueError: If the file is not a dump with a single label and one vector of
            scores per clip.

    Example:
        >>> import pickle, tempfile
        >>> import torch
        >>> from selfy_mmaction.evaluation.dumps import load_dump
        >>> clip = dict(pred_score=torch.tensor([0.1, 0.9]), gt_label=torch.tensor([1]))
        >>> with tempfile.NamedTemporaryFile(suffix='.pkl') as file:
        ...     pickle.dump([clip, clip], file)  # as by test.py --dump
        ...     file.flush()
        ...     dump = load_dump(file.name)
        >>> dump.scores.shape, dump.labels, dump.holds_probabilities
        ((2, 2), array([1, 1]), True)
    """
    with open(path, 'rb') as file:
        try:
            samples = _DumpUnpickler(file).load()
        except pickle.UnpicklingError as error:
            raise pickle.UnpicklingError(f'{path} was not read: {error}') from None
        except Exception as error:  # constructors raise any error on damaged data
            raise ValueError(f'{path} is not a complete dump: {error}') from error
    if not isinstance(samples, list) or not samples:
        raise ValueError(
            f'{path} is not a list of predictions; write it with test.py --dump'
        )
    scores = [_score(sample, f'{path}, clip {i}') for i, sample in enumerate(samples)]
    for index, score in enumerate(scores):
        if score.shape != scores[0].shape:
            raise ValueError(
                f'{path}, clip {index} has {score.size} scores, but clip 0 has '
                f'{scores[0].size}'
            )
    labels = [_label(sample, f'{path}, clip {i}') for i, sample in enumerate(samples)]
    for index, label in enumerate(labels):
        if label not in range(scores[0].size):
            raise ValueError(
                f'{path}, clip {index} has label {label}, but {scores[0].size} scores, '
                f'expected 0 to {scores[0].size - 1}'
            )
    return Dump(
        str(path), np.stack(scores), np.array(labels), [_name(s) for s in samples]
    )


def _score(sample: Any, where: str) -> np.ndarray:
    if not isinstance(sample, dict) or not {'pred_score', 'gt_label'} <= sample.keys():
        raise ValueError(f'{where} is not a dict with pred_score and gt_label')
    score = sample['pred_score']
    if not isinstance(score, torch.Tensor) or score.is_complex():
        kind = getattr(score, 'dtype', type(score).__name__)
        raise ValueError(f'{where} has pred_score of {kind}, expected a real tensor')
    if score.dim() != 1:
        raise ValueError(
            f'{where} has pred_score of shape {tuple(score.shape)}, expected one score '
            "per class; test with average_clips='prob' in the head"
        )
    score = score.detach().float()
    if not score.isfinite().all():
        raise ValueError(f'{where} has scores that are not finite')
    return score.numpy()


def _label(sample: dict, where: str) -> int:
    label = sample['gt_label']
    try:
        tensor = torch.as_tensor(label)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # such as text
        tensor = torch.tensor([torch.nan])
    if tensor.numel() != 1:
        raise ValueError(
            f'{where} has {tensor.numel()} labels; multi-label datasets are not '
            'supported'
        )
    if tensor.dtype == torch.bool or tensor.is_floating_point() or tensor.is_complex():
        raise ValueError(f'{where} has gt_label {label!r}, expected an integer')
    return int(tensor)


def _name(sample: dict) -> dict[str, str]:
    for key in NAME_KEYS:
        name = sample.get(key)
        if isinstance(name, str) and name:
            return {key: name}
    return {}


def _same_clip(one: dict[str, str], other: dict[str, str]) -> bool:
    """Return whether names are equal except for folders and file extensions."""

    def last_part(name: dict[str, str]) -> str:
        ((key, path),) = name.items()
        return Path(path).stem if key == 'filename' else Path(path).name

    return last_part(one) == last_part(other)


def check_same_clips(dumps: list[Dump]) -> None:
    """Check that dumps have the same clips in the same order.

    Compares the numbers of clips and classes and the label of each clip. If both files
    have names, the last part of each path is compared, too, for files without the
    extension.

    Raises:
        ValueError: If they differ; the message names the first difference.
    """
    first = dumps[0]
    for other in dumps[1:]:
        both = f'{first.path} and {other.path} do not have the same clips'
        for what, axis in (('clips', 0), ('classes', 1)):
            sizes = first.scores.shape[axis], other.scores.shape[axis]
            if sizes[0] != sizes[1]:
                raise ValueError(f'{both}: {sizes[0]} {what} and {sizes[1]} {what}')
        for index in range(len(first.labels)):
            names = first.names[index], other.names[index]
            if all(names) and not _same_clip(*names):
                first_name, other_name = (next(iter(name.values())) for name in names)
                raise ValueError(
                    f'{both}: clip {index} is {first_name!r} and {other_name!r}; test '
                    'both on the same list'
                )
            labels = first.labels[index], other.labels[index]
            if labels[0] != labels[1]:
                raise ValueError(
                    f'{both}: clip {index} has label {labels[0]} and {labels[1]}; test '
                    'both on the same list, with the same order of classes'
                )
