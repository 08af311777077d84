# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import json
import os
import shutil
from pathlib import Path

import pytest

from selfy_mmaction.datasets.transforms.control_frames import CONTROLS
from selfy_mmaction.motion_benchmark import make_motion

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'reproduce.py'
CONFIG = f"""
_base_ = [
    '{ROOT}/configs/_base_/models/selfy_tsn_r18_slim.py',
    '{ROOT}/configs/_base_/datasets/motion.py',
    '{ROOT}/configs/_base_/schedules/adamw_6e.py',
    '{ROOT}/configs/_base_/default_runtime.py',
]
train_cfg = dict(max_epochs=1)
model = dict(cls_head=dict(num_classes=4))
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        ann_file='data/val.txt', data_prefix=dict(video='data/videos'), num_classes=4
    )
)
val_dataloader = train_dataloader
test_dataloader = train_dataloader
"""
METAFILE = """
Models:
- Name: SELFY
  Config: configs/selfy-tsn-tiny.py
  Metadata: {Row: TSN + SELFY}
  Results:
  - Metrics: {Top 1 Accuracy reported by the paper: 46.9}
"""


@pytest.fixture(scope='module')
def project(tmp_path_factory) -> Path:
    """Folder with a benchmark and a table of one row."""
    folder = tmp_path_factory.mktemp('project')
    make_motion(folder / 'data', 'stories-tiny', workers=1)
    table = folder / 'configs' / 'table4a_similarity'
    table.mkdir(parents=True)
    (table / 'metafile.yml').write_text(METAFILE)
    (folder / 'configs' / 'selfy-tsn-tiny.py').write_text(CONFIG)
    return folder


@pytest.fixture
def here(project, monkeypatch) -> Path:
    monkeypatch.chdir(project)
    # The runs import the package from here even if it is not installed.
    paths = [str(ROOT), os.environ.get('PYTHONPATH', '')]
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(filter(None, paths)))
    return project


def test_table_is_trained_tested_and_reported(here, run):
    common = ('table4a', 'section4.7', '--configs', 'configs', '--seeds', 1)
    out = run(*common, '--jobs', 1)
    assert '[1/1] selfy-tsn-tiny/seed-0: ' in out, out
    folder = here / 'docs' / 'results' / 'stories-tiny'
    result = json.loads((folder / 'runs/selfy-tsn-tiny/seed-0.json').read_text())
    assert result['epochs'] == 1
    assert result['multiply_adds'] > 1e7
    assert all(split['clips'] == 8 for split in result['splits'].values())
    assert set(result['controls']) == set(CONTROLS)
    # The same answer for all four orders of a story, and right for one of them.
    for control in ('one', 'mean'):
        assert result['controls'][control]['accuracy'] == 0.25
    assert result['cpu_seconds'] > 1
    assert str(here) not in json.dumps(result)
    report = (folder / 'table4a_similarity.md').read_text(encoding='utf-8')
    assert '| **TSN + SELFY** | 46.9 |' in report
    assert '| **TSN + SELFY** | 25.0 |' in report.partition('## Controls')[2]
    assert (folder / 'section4.7.png').is_file()
    # Nothing is run twice, and reports need no work directory.
    shutil.rmtree(here / 'work_dirs')
    (folder / 'table4a_similarity.md').unlink()
    run(*common, '--report-only')
    assert (folder / 'table4a_similarity.md').read_text(encoding='utf-8') == report
    assert not (here / 'work_dirs').exists()
    assert 'runs: 1, already finished: 1; ' in run(*common)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--seeds', 0], '--seeds must be at least 1, got 0'),
        (['--jobs', -1], '--jobs must be at least 1, got -1'),
        (['--budget', 'nan'], '--budget must be a positive number of hours, got nan'),
        (['--work-dir', 'my dir'], "'my dir' contains a space or a comma"),
        (['--configs', 'nowhere'], 'nowhere has no tables'),
        (['tabel4a', '--configs', 'configs'], "there is no table 'tabel4a'"),
    ],
)
def test_wrong_options_are_refused(here, refused, options, message):
    assert message in refused('table4a', *options)


def test_missing_benchmark_is_named(here, refused, tmp_path, monkeypatch):
    configs = here / 'configs'
    monkeypatch.chdir(tmp_path)
    message = refused('table4a', '--configs', configs)
    assert 'data/motion.json does not exist; generate the benchmark with' in message
    assert not list(tmp_path.iterdir())
