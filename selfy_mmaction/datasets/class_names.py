# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Class names of a dataset, and the classes that a label contains."""

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from mmengine.fileio import exists

from .text_files import read_lines


def read_class_names(path: str) -> list[str]:
    """Read a file with one class name per line, in the order of the labels.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file has no names or is not in UTF-8, or a name is empty or
            appears twice.
    """
    if not exists(path):
        raise FileNotFoundError(
            f'class names {str(path)!r} do not exist; pass the file that '
            'tools/data/prepare.py wrote, with one class name per line in the order of '
            'the labels'
        )
    names = [name.strip() for name in read_lines(path)]
    if not names:
        raise ValueError(f'{path} is empty; expected one class name per line')
    for label, name in enumerate(names):
        if not name:
            raise ValueError(
                f'{path}, line {label + 1} is empty; expected a class name'
            )
        if names.index(name) != label:
            raise ValueError(
                f'{path}, line {label + 1} repeats {name!r} of line '
                f'{names.index(name) + 1}; list every class once'
            )
    return names


def fingerprint_class_names(names: Iterable[str]) -> str:
    """Compute a fingerprint of class names in the order of their labels.

    Lists of a dataset are compatible only if their fingerprints are equal. Case,
    punctuation and spaces are ignored, because the official files write both
    "[something]" and "something" and differ in commas.

    Returns:
        The first 16 hexadecimal digits of the SHA-256 of the names.
    """
    words = '\n'.join(
        ' '.join(re.findall(r'[a-z0-9]+', name.lower())) for name in names
    )
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def labels_with_direction(names: Iterable[str]) -> set[int]:
    """Return the labels of classes named with "left" or "right" (supplement A).

    Whole words count ("upright" does not), in any case and any meaning ("pulling it
    right out" counts): a clip that is not flipped needlessly does no harm.
    """
    return {
        label
        for label, name in enumerate(names)
        if re.search(r'\b(left|right)\b', name, re.IGNORECASE)
    }


def find_present_labels(label: Any, num_classes: int) -> set[int]:
    """Return the classes in a label of any form that mmaction2 accepts.

    Args:
        label: A class index, a list of class indices, or one weight per class (one-hot
            or soft labels). Numbers may be Python's, NumPy's or tensors. Integers are
            weights if there is one per class and all are 0 or 1, except in a list of
            at most two: ``[0, 1]`` names both of two classes.
        num_classes: Number of classes.

    Returns:
        The class indices; for weights, those with a weight above 0. -1, mmaction2's
        label of unlabeled clips, is kept.

    Raises:
        ValueError: If the label has none of these forms or a class does not exist.
    """
    try:
        values = np.asarray(label)
    except ValueError:  # lists of unequal lengths
        values = np.asarray(None)
    kind = values.dtype.kind
    is_numbers = kind in 'iu' or (kind == 'b' and values.ndim)
    is_weights = (
        values.ndim == 1
        and len(values) == num_classes
        and (
            kind == 'f'
            or (
                is_numbers
                and np.isin(values, (0, 1)).all()
                and (len(values) > 2 or not isinstance(label, (list, tuple)))
            )
        )
    )
    if is_weights and np.isfinite(values).all():
        return set(np.flatnonzero(values > 0).tolist())
    if not is_numbers or values.ndim > 1 or kind == 'b':
        raise ValueError(
            f'label {label!r} cannot be read; expected a class index, a list of class '
            f'indices, or one weight for each of the {num_classes} classes'
        )
    classes = set(values.ravel().tolist())
    if not classes <= set(range(-1, num_classes)):
        raise ValueError(
            f'label {label!r} is not among the {num_classes} classes, 0 to '
            f'{num_classes - 1}'
        )
    return classes
