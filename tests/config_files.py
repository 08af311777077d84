# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The configs of the repository, each read once per process."""

import os
from copy import deepcopy
from functools import cache
from pathlib import Path
from unittest import mock

from mmengine.config import Config

CONFIGS = Path(__file__).parents[1] / 'configs'
LEAVES = sorted(
    path.relative_to(CONFIGS).as_posix()
    for path in CONFIGS.rglob('*.py')
    if '_base_' not in path.parts
)


def read(name: str) -> Config:
    """Read a config with its default values; callers may modify the result."""
    return deepcopy(_read(name))


@cache
def _read(name: str) -> Config:
    with mock.patch.dict(os.environ):
        for variable in ('DECODER', 'DATA', 'FRAMES', 'SIZE'):
            os.environ.pop(f'SELFY_{variable}', None)
        return Config.fromfile(CONFIGS / name)
