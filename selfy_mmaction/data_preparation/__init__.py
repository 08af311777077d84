# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Preparation of mmaction2's lists from official downloads, see docs/data.md."""

from .check_report import show
from .checking import check
from .diving48 import DIVING48
from .gym import GYM
from .kinetics400 import KINETICS400
from .preparing import prepare
from .something_something import STHV1, STHV2

DATASETS = {
    dataset.name: dataset for dataset in (STHV1, STHV2, DIVING48, GYM, KINETICS400)
}

__all__ = ['DATASETS', 'check', 'prepare', 'show']
