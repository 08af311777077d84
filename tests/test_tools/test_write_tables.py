# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_tables_are_current():
    command = [sys.executable, ROOT / 'tools' / 'write_tables.py', '--check']
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_every_table_of_the_metafiles_is_shown():
    names = ('README.md', 'docs/recipes.md', 'docs/ablations.md')
    pages = ''.join((ROOT / name).read_text() for name in names)
    folders = [path.name for path in (ROOT / 'configs/ablations').iterdir()]
    names = [name for name in folders if (ROOT / 'configs/ablations' / name).is_dir()]
    for name in [*names, 'sthv1_sthv2', 'diving48', 'finegym', 'kinetics400']:
        assert pages.count(f'<!-- begin {name} -->') == 1
