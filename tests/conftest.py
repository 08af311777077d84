# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import pytest
from mmengine.registry import init_default_scope

import selfy_mmaction  # noqa: F401  registers everything


@pytest.fixture(autouse=True, scope='session')
def _mmaction_scope():
    """What a config says with ``default_scope = 'mmaction'``."""
    init_default_scope('mmaction')
