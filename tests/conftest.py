# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from pathlib import Path

import pytest
from mmengine.registry import init_default_scope

import selfy_mmaction  # noqa: F401  registers everything
from selfy_mmaction.datasets.motion import make_motion


@pytest.fixture(autouse=True, scope='session')
def _mmaction_scope():
    """What a config says with ``default_scope = 'mmaction'``."""
    init_default_scope('mmaction')


@pytest.fixture(scope='session')
def motion_tiny(tmp_path_factory) -> Path:
    """The smallest motion benchmark: 4 classes, 24 training and 16 test clips."""
    out = tmp_path_factory.mktemp('motion')
    make_motion(out, 'tiny', workers=1)
    return out
