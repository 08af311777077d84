# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Class names of a data set: their order, and which of them speak of left or right."""

import hashlib
import re
from collections.abc import Iterable

from mmengine.fileio import exists, list_from_file


def read_class_names(path: str) -> list[str]:
    """Read a file of class names.

    Args:
        path: File with one class name a line, in the order of the labels.

    Returns:
        The names; the label of a class is its index.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: A name is empty or appears twice.
    """
    if not exists(path):
        raise FileNotFoundError(
            f'class names {str(path)!r} do not exist; give the file with one class '
            'name a line, in the order of the labels, that the preparation wrote'
        )
    names = [name.strip() for name in list_from_file(path)]
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
    """Fingerprint of classes in their order.

    Two lists of the same data set go together only where their fingerprints agree.
    Case, punctuation and spaces do not count: the official files and the lists made
    from them write "[something]" and "something", and place commas differently.

    Args:
        names: Class names in the order of the labels.

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

    Args:
        names: Class names in the order of the labels.

    Returns:
        The labels.
    """
    return {
        label
        for label, name in enumerate(names)
        if re.search(r'\b(left|right)\b', name, re.IGNORECASE)
    }
