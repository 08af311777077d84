# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""tools/export.py with the packaged network."""

from pathlib import Path

import pytest

from selfy_mmaction.deployment import exporting

TOOL = Path(__file__).parents[2] / 'tools' / 'export.py'
CONFIG = 'selfy_mmaction::motion/selfy-tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'
NETWORK = [CONFIG, 'selfy_mmaction://selfy-tsn-r18-slim-motion']


def test_packaged_network(run, tmp_path):
    out = run(*NETWORK, tmp_path / 'a.pt', '--format', 'torchscript')
    assert 'batches of 1, 2, 3: largest difference' in out
    assert 'same top-1 for 100% of the clips' in out
    assert (tmp_path / 'a.pt').is_file()
    assert (tmp_path / 'a.pt.json').is_file()


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
