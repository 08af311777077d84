# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The benchmarks, as a user runs them, on sizes that say nothing about speed."""

import importlib
import json
import runpy
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from selfy_mmaction.models import SELFYBlock
from selfy_mmaction.ops import self_similarity_loops

FOLDER = Path(__file__).parents[1] / 'benchmarks'
GOLDEN = Path(__file__).parent / 'data' / 'golden' / 'official_block_train.npz'
WINDOW = (3, 3)
TINY = ['--repeats', '2', '--frames', '4', '--offsets', '-1', '0', '1']
TINY += ['--window', '3', '3', '--size', '4', '--channels', '8']
# The authors' repository as far as the benchmark of the operator calls it. It asks for
# CUDA, as theirs does, and gives {factor} times the similarity.
RELEASED = """
import torch as tr
from selfy_mmaction.ops import self_similarity


class STSSTransformation(tr.nn.Module):
    def __init__(self, d_in, d_hid, num_segments, window):
        super().__init__()
        self.options = range(-(window[0] // 2), window[0] // 2 + 1), window[1:]
        self.num_segments = num_segments
        self.downsample = tr.nn.Conv2d(d_in, d_hid, 1)

    def forward(self, x):
        x = self.downsample(x)
        out = {factor} * self_similarity(x, *self.options, self.num_segments)
        return (out + tr.zeros(out.shape, device='cuda')).unsqueeze(4)
"""


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    """What Python does for a script: its folder first."""
    monkeypatch.syspath_prepend(FOLDER)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a benchmark; return what it wrote as JSON."""

    def run(name: str, *args: str) -> dict:
        argv = [f'{name}.py', *args, '--out', str(tmp_path)]
        monkeypatch.setattr(sys, 'argv', argv)
        runpy.run_path(str(FOLDER / f'{name}.py'), run_name='__main__')
        return json.loads((tmp_path / f'{name}.json').read_text())

    return run


@pytest.fixture
def released(tmp_path) -> Path:
    """A checkout of the authors' repository, so to speak."""
    root = tmp_path / 'SELFY'
    (root / 'ops').mkdir(parents=True)
    (root / 'ops' / 'selfy.py').write_text(RELEASED.format(factor=1))
    return root


def _correlate(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """What correlation operators compute, (B, U, V, H, W), position by position."""
    batch, _, height, width = first.shape
    out = first.new_zeros(batch, *WINDOW, height, width)
    for y, x in np.ndindex(height, width):
        for u, v in np.ndindex(WINDOW):
            row, col = y + u - 1, x + v - 1
            if 0 <= row < height and 0 <= col < width:
                values = (first[:, :, y, x] * second[:, :, row, col]).sum(1)
                out[:, u, v, y, x] = values
    return out


class _Sampler(nn.Module):
    """In place of the compiled one, which tests cannot install."""

    def __init__(self, kernel_size, patch_size):
        super().__init__()
        assert (kernel_size, patch_size) == (1, WINDOW)

    def forward(self, first, second):
        return _correlate(first, second)


def _reasons(data: dict) -> dict[str, str]:
    return {peer['name']: peer['reason'] for peer in data['skipped']}


def test_op_writes_json_table_and_plot(run, tmp_path, capsys):
    data = run('op', *TINY, '--batch', '2', '--scale', 't=2,4', 'l=1')
    rows = {(row['candidate'], row['pass']): row for row in data['results']}
    assert list(rows) == [
        (candidate, pass_)
        for pass_ in ('forward', 'forward and backward')
        for candidate in ('ours', 'all pairs')
    ]
    # 2 clips, 4 frames, 4x4 positions, 3 offsets, 3x3 neighbors, 8 channels.
    values = 2 * 4 * 16 * 3 * 9
    feats = 2 * 4 * 8 * 16
    forward, both = rows['all pairs', 'forward'], rows['ours', 'forward and backward']
    assert forward['gmacs'] == pytest.approx(8 * values / 1e9)
    assert both['gmacs'] == pytest.approx(3 * 8 * values / 1e9)
    assert forward['least_mb'] == pytest.approx(4 * (feats + values) / 1e6)
    assert both['least_mb'] == pytest.approx(4 * (3 * feats + 2 * values) / 1e6)
    assert forward['peak_mib'] >= 4 * values / 2**20  # the result at least
    assert forward['difference'] < 1e-5
    for row in rows.values():
        assert row['ms'] == sorted(row['ms'])
        assert min(row['all_ms']) <= row['ms'][1] <= max(row['all_ms'])
        assert len(row['all_ms']) == 2
        assert row['share_of_limit'] > 0
    assert both['ratio'] == [1, 1, 1]
    first, second = (rows[name, 'forward']['all_ms'] for name in ('all pairs', 'ours'))
    middle = np.median(np.divide(first, second))
    assert forward['ratio'][1] == pytest.approx(middle)
    assert [point['value'] for point in data['scaling']['t']] == [2, 4]
    assert data['scaling']['l'][0]['results'][0]['gmacs'] == pytest.approx(
        8 * values / 3 / 1e9
    )
    assert data['machine']['torch'] == torch.__version__
    assert 'op.py --repeats 2 --frames 4 ' in data['command']
    assert data['limits']['1']['macs_per_s'] > 1e8
    assert _reasons(data)['correlation sampler'] == 'not asked for: --peer-sampler'
    assert 'CUDA' in _reasons(data)['mmcv.ops.Correlation']
    assert '| all pairs | forward |' in (tmp_path / 'op.md').read_text()
    assert (tmp_path / 'op.md').read_text() in capsys.readouterr().out
    assert (tmp_path / 'op.png').read_bytes().startswith(b'\x89PNG')


def test_peers_are_measured_and_held_against_ours(run, released, monkeypatch):
    module = ModuleType('spatial_correlation_sampler')
    module.SpatialCorrelationSampler = _Sampler
    monkeypatch.setitem(sys.modules, 'spatial_correlation_sampler', module)
    args = (*TINY, '--peer-sampler', '--peer-released', str(released))
    data = run('op', *args, '--scale', 'window=3')
    peers = ['correlation sampler', 'released code, fallback', 'released code, sampler']
    for rows in (data['results'], data['scaling']['window'][0]['results']):
        found = {row['candidate'] for row in rows if row['pass'] == 'forward'}
        assert found == {'ours', 'all pairs', *peers}
        assert max(row['difference'] or 0 for row in rows) < 1e-5
    assert not any('another result' in warning for warning in data['warnings'])


def test_peer_that_computes_something_else_is_named(run, released):
    (released / 'ops' / 'selfy.py').write_text(RELEASED.format(factor=1.01))
    data = run('op', *TINY, '--peer-released', str(released))
    (warning,) = (w for w in data['warnings'] if '(forward,' in w)
    assert warning.startswith('released code, fallback gives another result')
    assert '1.0e-02' in warning


# Adding and taking away a large number leaves rounding, which float64 has little of.
ROUNDS = RELEASED.format(factor=1).replace('(out +', '(out + 2e5 - 2e5 +')


def test_peer_that_only_rounds_more_is_not_named(run, released):
    (released / 'ops' / 'selfy.py').write_text(ROUNDS)
    data = run('op', *TINY, '--peer-released', str(released))
    rows = {(row['candidate'], row['pass']): row for row in data['results']}
    assert rows['released code, fallback', 'forward']['difference'] > 1e-3
    assert not any('another result' in warning for warning in data['warnings'])


@pytest.mark.parametrize(
    'change', ['out = out * 1.0001', 'assert out.dtype == tr.float32']
)
def test_peer_that_float64_does_not_clear_is_named(run, released, change):
    code = ROUNDS.replace('return', f'{change}\n        return')
    (released / 'ops' / 'selfy.py').write_text(code)
    data = run('op', *TINY, '--peer-released', str(released))
    (warning,) = (w for w in data['warnings'] if '(forward,' in w)
    assert warning.startswith('released code, fallback gives another result')
    assert 'released code, fallback' not in _reasons(data)


@pytest.mark.parametrize(
    ('code', 'reason'),
    [
        ('import no_such_package', "No module named 'no_such_package'"),
        ('import torch as tr', "no attribute 'STSSTransformation'"),
    ],
)
def test_peer_that_fails_is_skipped_with_the_reason(run, released, code, reason):
    (released / 'ops' / 'selfy.py').write_text(code)
    data = run('op', *TINY, '--peer-released', str(released), '--peer-sampler')
    assert reason in _reasons(data)['released code, fallback']
    assert 'pip install' in _reasons(data)['correlation sampler']


def test_block_and_its_steps(run):
    data = run('block', *TINY)
    for form in ('ours', 'ours, released form'):
        rows = data['steps'][f'Steps of the block, {form}']
        assert [row['candidate'] for row in rows[:7]] == [
            'whole block',
            'reduction',
            'transformation',
            'extraction',
            'integration',
            'restoration',
            'fusion',
        ]
        assert len(rows) == 14
        for steps in (rows[:7], rows[7:]):
            assert sum(row['gmacs'] for row in steps[1:]) == pytest.approx(
                steps[0]['gmacs']
            )
        # 4 frames of 2x2 positions, 128 channels that see 8 through 3x3 weights.
        assert rows[1]['gmacs'] == pytest.approx(4 * 4 * 128 * 8 * 9 / 1e9)


def test_released_block_gets_our_weights():
    from peers import copy_weights

    class Theirs:  # a module as far as its weights go
        def state_dict(self) -> dict[str, torch.Tensor]:
            golden = np.load(GOLDEN)
            names = [name for name in golden if name.startswith('param:')]
            state = {n[6:]: torch.full(golden[n].shape, torch.nan) for n in names}
            norms = [n for n in state if n.endswith('running_var')]
            counts = (n.replace('running_var', 'num_batches_tracked') for n in norms)
            return {**state, **{name: torch.tensor(torch.nan) for name in counts}}

        def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
            self.state = state

    ours = SELFYBlock(
        in_channels=12,
        num_segments=4,
        reduced_channels=8,
        extraction=dict(channels=(4, 6, 8, 8)),
        integration=dict(type='ReleasedIntegration', channels=(8, 8, 8, 8)),
        restoration=dict(type='TransposedConvRestoration'),
    )
    theirs = Theirs()
    copy_weights(ours, theirs)
    assert not any(value.isnan().any() for value in theirs.state.values())
    torch.testing.assert_close(
        theirs.state['stss_integration.conv3_fuse.1.weight'].squeeze(2),
        ours.integration.project.conv.weight,
    )


def test_network(run):
    args = ('--repeats', '2', '--depth', '18', '--frames', '2', '--size', '32')
    data = run('network', *args, '--dtype', 'bfloat16')
    rows = {row['candidate']: row for row in data['results']}
    assert list(rows) == ['TSM', 'SELFYNet-TSM', 'SELFYNet-TSM, released form']
    assert rows['TSM']['ratio'] == [1, 1, 1]
    # 11.3 M weights of two bytes each, which any pass holds.
    assert rows['TSM']['peak_mib'] > 11.2e6 * 2 / 2**20


def test_train_step(run):
    data = run('train_step', '--repeats', '2', '--depth', '18', '--size', '32')
    rows = {row['candidate']: row for row in data['results']}
    backbone, plain, with_cp = (
        rows[name] for name in ('TSM', 'SELFYNet-TSM', 'SELFYNet-TSM, with_cp')
    )
    assert with_cp['difference'] < 1e-6
    assert backbone['peak_mib'] < with_cp['peak_mib'] <= plain['peak_mib']
    # Weights, gradients and momentum.
    assert backbone['peak_mib'] > 3 * 11.2e6 * 4 / 2**20


@pytest.mark.parametrize('name', ['op', 'block', 'network', 'train_step'])
def test_what_decides_runs_in_float64(name):
    from peers import Peers
    from running import Case, Settings

    cpu = torch.device('cpu')
    channels = 3 if name in ('network', 'train_step') else 8
    case = Case(2, (-1, 0, 1), WINDOW, (32, 32), channels, 1, 1)
    args = Namespace(depth=18, backend=[])
    settings = Settings(cpu, torch.bfloat16, Peers(cpu, False, None), args).in_float64()
    candidates = importlib.import_module(name).build(case, settings)
    assert len(candidates) >= 2
    for candidate in candidates:
        for function in candidate.passes.values():
            result = function()
            result = result if isinstance(result, torch.Tensor) else result[0]
            assert result.dtype == torch.float64


def test_other_ways_to_the_similarity_agree_with_the_loops():
    from op import Case, similarity_of_all_pairs
    from peers import similarity_by_sampling

    feats = torch.randn(2 * 3, 4, 4, 3, dtype=torch.float64)
    offsets = (2, 0, -1)
    expected = self_similarity_loops(feats, offsets, WINDOW, 3)
    case = Case(3, offsets, WINDOW, (4, 3), 4, 2, 1)
    torch.testing.assert_close(similarity_of_all_pairs(feats, case, 3), expected)
    sampled = similarity_by_sampling(_correlate, feats, offsets, 3)
    torch.testing.assert_close(sampled, expected)


def test_peak_memory_counts_what_is_held_at_once():
    from measuring import peak_bytes

    def function() -> torch.Tensor:
        first = torch.ones(2**18)  # 1 MiB
        second = torch.ones(2**19)  # 2 MiB
        del first
        return torch.ones(2**18) + second[: 2**18]  # 1 MiB and 1 MiB

    assert peak_bytes(function, torch.device('cpu')) == 4 * 2**20


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ('--device cuda', 'torch finds no CUDA device'),
        ('--threads 4096', 'threads=4096, but this process may use'),
        ('--threads 0', 'threads must be 1 or more, but got 0'),
        ('--batch 0', 'batch must be 1 or more, but got 0'),
        ('--repeats 1', '--repeats 1: quartiles need 2 or more'),
        ('--window 9 8', 'two positive odd numbers'),
        ('--offsets 1 1', 'offsets must differ'),
        ('--size 4 4 4', 'size must be 1 or 2 positive numbers'),
        ('--scale depth', "--scale 'depth' is unknown"),
        ('--scale t=2,x', "--scale 't=2,x' must be like t=1,2,4"),
        ('--scale l=2', 'l=2: offsets -n to n are an odd number'),
        ('--scale batch=0', 'batch must be 1 or more'),
        ('--baseline theirs', "--baseline 'theirs' is none of our candidates"),
        ('--peer-released nowhere', 'there is no nowhere/ops/selfy.py'),
        ('--dtype float8', "invalid choice: 'float8'"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(run, capsys, args, message):
    if 'cuda' in args and torch.cuda.is_available():
        pytest.skip('there is a CUDA device')
    with pytest.raises(SystemExit) as stop:
        run('op', *args.split())
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
