# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Comparison of class names, and the classes that a label contains."""

import hashlib
import os.path as osp
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from mmengine.fileio import exists, load


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


def check_fingerprint(class_file: str, names: Iterable[str], ann_file: str) -> None:
    """Check that class names are those that an annotation file was written for.

    Args:
        class_file: File of the class names, for the error message.
        names: Class names in the order of their labels.
        ann_file: Annotation file. The fingerprint is in ``preparation.json`` of its
            folder; without one, nothing is checked.

    Raises:
        ValueError: If the fingerprints differ.
    """
    preparation = osp.join(osp.dirname(ann_file), 'preparation.json')
    if not exists(preparation):
        return
    wanted = load(preparation).get('class_fingerprint')
    found = fingerprint_class_names(names)
    if isinstance(wanted, str) and found != wanted:
        raise ValueError(
            f'{class_file} has fingerprint {found}, but according to {preparation}, '
            f'{ann_file} was written for {wanted}: the classes or their order differ; '
            'set the class names to the file that was written with the list'
        )


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
