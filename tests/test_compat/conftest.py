# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope='session')
def symptoms():
    """The report of ``show_symptoms.py``, run in its own interpreter."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name('show_symptoms.py'))],
        # Show the symptoms of a machine without a GPU, even on one with GPUs.
        env={**os.environ, 'CUDA_VISIBLE_DEVICES': ''},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
