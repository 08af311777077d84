# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'mixing_cost.py'
CONFIG = 'tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv2-rgb.py'


def test_row_of_an_installed_config(run):
    row = run(CONFIG, '--after', 'layer2').splitlines()[-1]
    assert row in (ROOT / 'docs' / 'mixing.md').read_text()
    # README: SELFYNet-TSM-R50 has 36.19G, TSM-R50 32.7G.
    assert row.endswith('| 0.95M | 3.49G | 32.70G |')


def test_another_block_in_a_config_file(run):
    path = ROOT / 'configs' / 'motion' / 'tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'
    row = run(
        *(str(path), '--after', 'layer3', '--block', 'STCB'),
        *('--shape', '8', '3', '64', '64'),
    ).splitlines()[-1]
    assert row.startswith(f'| motion | `{path.stem}` | `layer3` |')


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ((CONFIG, '--after', 'layr2'), "no layer 'layr2'"),
        ((CONFIG, '--after', 'layer2', '--shape', '1', '3'), 'input_shape=.1, 3.'),
        (('tsm/none.py', '--after', 'layer2'), 'tsm/none.py is neither a file'),
    ],
)
def test_invalid_arguments(run, args, message):
    with pytest.raises(SystemExit, match=message):
        run(*args)
