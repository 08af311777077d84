# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""tools/export.py with the packaged network."""

import subprocess
import sys
from pathlib import Path

import pytest

from selfy_mmaction.checkpoints import SAMPLE_CLIP
from selfy_mmaction.deployment import exporting
from selfy_mmaction.inference import predict

TOOL = Path(__file__).parents[2] / 'tools' / 'export.py'
CONFIG = 'selfy_mmaction::motion/selfy-tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'
NETWORK = [CONFIG, 'selfy_mmaction://selfy-tsn-r18-slim-motion']


def test_packaged_network(run, tmp_path):
    out = run(*NETWORK, tmp_path / 'a.pt', '--format', 'torchscript')
    assert 'batches of 1, 2, 3: largest difference' in out
    assert 'same top-1 for 100% of the clips' in out
    assert (tmp_path / 'a.pt').is_file()
    assert (tmp_path / 'a.pt.json').is_file()


WITHOUT_TORCH = """
import runpy, sys
for name in ('torch', 'mmcv', 'mmaction', 'selfy_mmaction'):
    sys.modules[name] = None
runpy.run_path(sys.argv.pop(1), run_name='__main__')
"""


def test_example_with_onnx_runtime(run, tmp_path):
    network = tmp_path / 'a.onnx'
    run(*NETWORK, network)
    example = TOOL.parents[1] / 'examples' / 'onnx_runtime.py'
    command = [sys.executable, '-c', WITHOUT_TORCH, example, network, SAMPLE_CLIP]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    first, *others = (line.split() for line in out.splitlines())
    (prediction,) = predict(str(SAMPLE_CLIP))
    best = prediction.top[0]
    assert first[1] == best.name
    # OpenCV and decord decode to slightly different colors.
    assert float(first[0].rstrip('%')) / 100 == pytest.approx(
        best.probability, abs=0.01
    )
    assert len(others) == 4


def test_wrong_commands(refused, tmp_path):
    out = tmp_path / 'a.pt'
    assert 'must end in .onnx' in refused(*NETWORK, out)
    format = ('--format', 'torchscript')
    assert "'missing.pth' does not exist" in refused(
        CONFIG, 'missing.pth', out, *format
    )
    assert 'cannot be read' in refused(*NETWORK, out, *format, '--check', TOOL)
    assert not out.exists()


def test_a_difference_is_exit_code_1(run, capsys, monkeypatch, tmp_path):
    def differs(*args, **kwargs):
        raise exporting.ComparisonError('a.pt is not written')

    monkeypatch.setattr(exporting, 'export_network', differs)
    with pytest.raises(SystemExit, match='^1$'):
        run(*NETWORK, tmp_path / 'a.pt')
    assert 'error: a.pt is not written' in capsys.readouterr().err
