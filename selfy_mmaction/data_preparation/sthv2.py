# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Something-Something V2: WebM videos, one order of its classes."""

from pathlib import Path

from .layout import Annotation, DataSet, LabelSet, Media
from .something_something import ALPHABETICAL, NUM_CLASSES, read_something


def read_annotations(root: Path) -> list[Annotation]:
    """Read the official files, see ``read_something``."""
    return read_something(root, 'sthv2', 'v2')


STHV2 = DataSet(
    name='sthv2',
    label_sets=(
        LabelSet(
            name='sthv2',
            num_classes=NUM_CLASSES,
            published={'v2': {'train': 168913, 'val': 24777}},
            orders={'official': ALPHABETICAL},
            list_name='sthv2_{split}_list_{kind}.txt',
        ),
    ),
    media=(
        Media('videos', 'videos', ('videos', '20bn-something-something-v2')),
        Media('rawframes', 'rawframes', ('rawframes',)),
    ),
    read_annotations=read_annotations,
)
