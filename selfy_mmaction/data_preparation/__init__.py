# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""From official downloads to mmaction2's lists, and checks; see docs/data.md."""

from .check_report import show
from .checking import check
from .diving48 import DIVING48
from .gym import GYM
from .kinetics400 import KINETICS400
from .preparing import prepare
from .sthv1 import STHV1
from .sthv2 import STHV2

DATA_SETS = {
    data_set.name: data_set for data_set in (STHV1, STHV2, DIVING48, GYM, KINETICS400)
}

__all__ = ['DATA_SETS', 'check', 'prepare', 'show']
