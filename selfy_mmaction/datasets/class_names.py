# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Classes of a dataset: their names, their order, and those that a label stands for."""

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
        FileNotFoundError: The file does not exist.
        ValueError: The file has no names or is not in UTF-8, or a name is empty or
            appears twice.
    """
    if not exists(path):
        raise FileNotFoundError(
            f'class names {str(path)!r} do not exist; give the file with one class '
            'name a line, in the order of the labels, that the preparation wrote'
        )
    names = [name.strip() for name in read_lines(path)]
    if not names:
        raise ValueError(f'{path} is empty; expected one class name a line')
    for label, name in enumerate(names):
        if not name:
            raise ValueError(
                f'{path}, line {label + 1} is empty; expected a class name'
            )
        if names.index(name) != label:
            raise ValueError(
                f'{path}, line {label + 1} repeats {name!r} of line '
                f'{names.index(name) + 1}; every class must have one line'
            )
    return names


def fingerprint_class_names(names: Iterable[str]) -> str:
    """Fingerprint of classes in the order of their labels.

    Two lists of the same dataset go together only where their fingerprints agree.
    Case, punctuation and spaces do not count: the official files and the lists made
    from them write "[something]" and "something", and place commas differently.

    Returns:
        The first 16 hexadecimal digits of a SHA-256 over the names.
    """
    words = '\n'.join(
        ' '.join(re.findall(r'[a-z0-9]+', name.lower())) for name in names
    )
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def labels_with_direction(names: Iterable[str]) -> set[int]:
    """Labels of the classes whose name holds "left" or "right" (supplement A).

    The words count as whole words ("upright" does not), in any case and whatever they
    mean in the sentence ("pulling it right out" counts): a clip too many left unflipped
    teaches nothing wrong.
    """
    return {
        label
        for label, name in enumerate(names)
        if re.search(r'\b(left|right)\b', name, re.IGNORECASE)
    }


def find_present_labels(label: Any, num_classes: int) -> set[int]:
    """Classes that a label stands for, in any form that mmaction2 takes.

    Args:
        label: A number; a list of the numbers of classes; or one weight per class, as
            one-hot and soft labels are. Numbers may be Python's, NumPy's or tensors.
            Integers are weights where there are as many as classes and all are 0 or 1,
            except in a list of at most two: ``[0, 1]`` is both of two classes.
        num_classes: Number of classes.

    Returns:
        The classes, of weights those above 0; -1 for the -1 that mmaction2 gives clips
        without a label.

    Raises:
        ValueError: The label has none of these forms, or there is no such class.
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
            f'label {label!r} cannot be read; expected the number of a class, a list '
            f'of such numbers, or one weight for each of the {num_classes} classes'
        )
    classes = set(values.ravel().tolist())
    if not classes <= set(range(-1, num_classes)):
        raise ValueError(
            f'label {label!r} is not among the {num_classes} classes, 0 to '
            f'{num_classes - 1}'
        )
    return classes
