# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import os
import subprocess
import sys
import warnings
from importlib.util import find_spec

import pytest
from mmengine.config import Config
from mmengine.evaluator import BaseMetric, DumpResults
from mmengine.infer import BaseInferencer
from mmengine.model import BaseModel

from selfy_mmaction.compat import host_warnings

MMCV = 'import mmcv.cnn.bricks.transformer'
IMPORT_MODELS = f'import selfy_mmaction, mmaction.models, mmaction.apis; {MMCV}'
# Warnings of the user's own code, with the messages of the host.
OWN_WARNINGS = """
import sys, warnings
warnings.showwarning = lambda message, *args: sys.stderr.write(str(message)[-1])
warnings.warn('Grad strides do not match bucket view strides 1')
warnings.warn('`broadcast_buffers` is deprecated 2', FutureWarning)
"""


def python(code, *options, **env):
    """Run code in a bare process; return its output and its errors."""
    unset = ('PYTHONWARNINGS',)
    kept = {key: value for key, value in os.environ.items() if key not in unset}
    done = subprocess.run(
        [sys.executable, *options, '-c', code],
        env={**kept, **env},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_logged_only_without_the_workaround(symptoms):
    seen = symptoms['host_warnings']
    assert '"FileClient" will be deprecated' in seen['before']
    assert '"HardDiskBackend" is the alias' in seen['before']
    assert seen['after'] == ''


def test_import_in_a_bare_shell_says_nothing():
    assert python(f'{IMPORT_MODELS}\n{OWN_WARNINGS}') == ('', '12')


def test_import_of_mmcv_warns_without_this_package():
    # Otherwise the test above could not fail.
    if find_spec('mmcv._ext'):
        pytest.skip('this mmcv has compiled operators')
    assert 'MultiScaleDeformableAttention' in python(MMCV)[1]


@pytest.mark.parametrize(
    ('message', 'category', 'module'), host_warnings._WARNINGS, ids=range(3)
)
def test_each_filter_matches_module_and_category(message, category, module):
    name = module.replace('\\', '')
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter('always')
        warnings.filterwarnings('ignore', message, category, module)
        warnings.warn_explicit(message + ' text', category, 'file.py', 1, name)
        assert not seen
        warnings.warn_explicit(message + ' text', category, 'file.py', 1, 'mine')
        warnings.warn_explicit(message + ' text', RuntimeWarning, 'f.py', 1, name)
        warnings.warn_explicit('Another text', category, 'file.py', 1, name)
    assert len(seen) == 3


def test_metrics_without_prefix_are_still_reported(log, tmp_path):
    class Mine(BaseMetric):
        def process(self, data_batch, data_samples):
            pass

        def compute_metrics(self, results):
            return {}

    DumpResults(out_file_path=str(tmp_path / 'a.pkl'))
    assert log == []
    Mine()
    assert log == ['The prefix is not set in metric class Mine.']


class Model(BaseModel):
    def forward(self, inputs, data_samples=None, mode='tensor'):
        return inputs


def test_inferencer_without_a_folder(recwarn):
    config = dict(
        visualizer=dict(
            type='ActionVisualizer', vis_backends=[dict(type='LocalVisBackend')]
        )
    )
    make = BaseInferencer._init_visualizer
    assert make(None, Config(config)) is not None
    assert not [warning for warning in recwarn if 'save_dir' in str(warning.message)]
    make.__wrapped__(None, Config(config))
    assert [warning for warning in recwarn if 'save_dir' in str(warning.message)]
