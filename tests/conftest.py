# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope

import selfy_mmaction  # noqa: F401  registers everything
from selfy_mmaction.datasets.motion import make_motion


def _set_scope() -> None:
    """What a config says with ``default_scope = 'mmaction'``."""
    init_default_scope('mmaction')


# For the fixtures of a module and again for each test: a runner in a test before may
# have left another scope behind.
_scope_of_module = pytest.fixture(_set_scope, autouse=True, scope='module')
_scope_of_test = pytest.fixture(_set_scope, autouse=True)


@pytest.fixture(autouse=True)
def _no_shapes_of_other_tests():
    # torch.compile remembers which sizes of a module's code differed between calls, and
    # makes symbols of them: minutes of algebra for a network of other tests.
    yield
    torch.compiler.reset()


@pytest.fixture(scope='session')
def motion_tiny(tmp_path_factory) -> Path:
    """The smallest motion benchmark: 4 classes, 24 training and 16 test clips."""
    out = tmp_path_factory.mktemp('motion')
    make_motion(out, 'tiny', workers=1)
    return out
