# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Something-Something V1: frames, and two orders of its classes in use."""

from pathlib import Path

from .layout import Annotation, DataSet, LabelSet, Media
from .something_something import ALPHABETICAL, NUM_CLASSES, read_something

MMACTION2 = 'cad500a01b191d33'
"""Fingerprint of mmaction2's ``tools/data/sthv1/label_map.txt``."""


def read_annotations(root: Path) -> list[Annotation]:
    """Read the official files, see ``read_something``."""
    return read_something(root, 'sthv1', 'v1')


STHV1 = DataSet(
    name='sthv1',
    label_sets=(
        LabelSet(
            name='sthv1',
            num_classes=NUM_CLASSES,
            published={'v1': {'train': 86017, 'val': 11522}},
            orders={'alphabetical': ALPHABETICAL, 'mmaction2': MMACTION2},
            list_name='sthv1_{split}_list_{kind}.txt',
        ),
    ),
    media=(
        Media(
            'rawframes',
            'rawframes',
            ('rawframes', '20bn-something-something-v1'),
            frame_name='{:05}.jpg',
        ),
        Media('videos', 'videos', ('videos',)),
    ),
    read_annotations=read_annotations,
    # The authors of TSM, and after them SELFY's, sort the names; mmaction2 takes them
    # as they stand in the labels file.
    arrange={'alphabetical': sorted, 'mmaction2': list},
)
