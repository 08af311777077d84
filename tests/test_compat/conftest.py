# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope='session')
def shown_gaps():
    """What ``show_gaps.py`` saw in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name('show_gaps.py'))],
        # The gaps of a machine without a GPU, also on one that has some.
        env={**os.environ, 'CUDA_VISIBLE_DEVICES': ''},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
