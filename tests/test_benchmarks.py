# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The benchmarks run from the command line on tiny sizes."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from selfy_mmaction.deployment import runtimes
from selfy_mmaction.deployment.runtimes import open_file

ROOT = Path(__file__).parents[1]
# Stand-in for the official code, as far as op.py calls it. Like the original, it
# allocates on CUDA.
OFFICIAL = """
import torch as tr
from selfy_mmaction.ops import self_similarity

SpatialCorrelationSampler = tr.nn.Identity()


class STSSTransformation(tr.nn.Module):
    def __init__(self, d_in, d_hid, num_segments, window):
        super().__init__()
        offsets = range(-(window[0] // 2), window[0] // 2 + 1)
        self.options = offsets, window[1:], num_segments
        self.use_corr_sampler = True

    def forward(self, x):
        out = self_similarity(self.downsample(x), *self.options)
        if self.use_corr_sampler:
            out = SpatialCorrelationSampler(out)
        return (out + tr.zeros(out.shape, device='cuda')).unsqueeze(4)
"""


@pytest.fixture(autouse=True)
def run(monkeypatch, tmp_path):
    """Run a benchmark; return the rows of the main table and the JSON report."""
    monkeypatch.syspath_prepend(ROOT / 'benchmarks')  # as Python does for a script
    threads = torch.get_num_threads()

    def run(name: str, *args: str) -> tuple[dict, dict]:
        argv = [f'{name}.py', '--quick', *args, '--out', str(tmp_path)]
        monkeypatch.setattr(sys, 'argv', argv)
        runpy.run_path(str(ROOT / 'benchmarks' / argv[0]), run_name='__main__')
        data = json.loads((tmp_path / f'{name}.json').read_text())
        rows = data['tables'][0]['rows']
        return {(row['candidate'], row['pass']): row for row in rows}, data

    yield run
    torch.set_num_threads(threads)


def test_rows_of_the_operator(run, tmp_path, capsys):
    forms = ('composed', 'exportable')
    args = '--batch', '2', '--window', '3', '--scale', 't', '--backend', *forms
    rows, data = run('op', *args)
    # 2 clips of 2 frames, 6x6 positions, 3 offsets, 3x3 neighbors, 8 channels.
    values = 2 * 2 * 36 * 3 * 9
    names = ['ours', *(f'ours, {form}' for form in forms), 'all pairs']
    assert [name for name, pass_ in rows if pass_ == 'forward'] == names
    for (name, pass_), row in rows.items():
        times = {'forward': 1, 'forward and backward': 3}[pass_]
        assert row['gmacs'] == pytest.approx(times * 8 * values / 1e9)
        assert row['peak_mib'] >= 4 * values / 2**20  # at least the result
        seconds = row['all_seconds']
        ratios = np.divide(seconds, rows['ours', pass_]['all_seconds'])
        assert row['ms'][1] == pytest.approx(1000 * np.median(seconds)), name
        assert row['ratio'] == pytest.approx(np.quantile(ratios, [0.25, 0.5, 0.75]))
        least = row['gmacs'] / data['rates']['gmacs_per_s']
        assert row['times_arithmetic'] == pytest.approx(np.median(seconds) / least)
    changes = {table['change'].get('t'): table['rows'] for table in data['tables']}
    assert list(changes) == [None, 4, 8, 16, 32]
    four_frames = changes[4][0]['gmacs']
    assert four_frames == pytest.approx(2 * rows['ours', 'forward']['gmacs'])
    table = (tmp_path / 'op.md').read_text()
    assert f'torch {torch.__version__}' in table
    assert '\nt = 32\n' in table
    assert table in capsys.readouterr().out
    assert (tmp_path / 'op.png').read_bytes().startswith(b'\x89PNG')


def test_rows_of_the_block(run):
    rows, _ = run('block', '--dtype', 'bfloat16')
    steps = 'reduction transformation extraction integration restoration fusion'
    steps = [f'step: {name}' for name in steps.split()]
    for pass_ in ('forward', 'forward and backward'):
        names = [name for name, each in rows if each == pass_]
        assert names == ['ours, official form', 'ours', *steps]
        parts = sum(rows[step, pass_]['gmacs'] for step in steps)
        assert parts == pytest.approx(rows['ours', pass_]['gmacs'])


@pytest.mark.slow
def test_rows_of_the_networks(run):
    rows, _ = run('network')
    names = ['TSM', 'SELFYNet-TSM', 'SELFYNet-TSM, official form']
    assert [name for name, pass_ in rows if pass_ == 'forward'] == names
    names.append('SELFYNet-TSM, with_cp')
    tsm, plain, _, cp = (rows[name, 'training step']['peak_mib'] for name in names)
    assert tsm < cp <= plain
    # 11.2 M weights; training adds gradients and momentum.
    assert tsm > 3 * 11.2e6 * 4 / 2**20
    assert rows['TSM', 'forward']['peak_mib'] > 11.2e6 * 4 / 2**20


@pytest.mark.slow
def test_rows_of_streaming(run):
    rows, _ = run('streaming', '--t', '6')
    gmacs = {name: row['gmacs'] for (name, _), row in rows.items()}
    whole = gmacs['whole clip']
    assert gmacs['exact streaming'] == pytest.approx(whole / 6)
    # Layers after the block run on 3 of 6 frames with offsets from -1 to 1.
    assert whole / 6 < gmacs['sliding window, cached'] < whole / 2
    causal = gmacs['causal TSM, exact streaming']
    # Offsets -1 and 0, and the shifts need no multiply-adds.
    assert gmacs['causal TSM, whole clip'] == pytest.approx(6 * causal)
    assert 0 < 6 * causal < whole


@pytest.mark.slow
def test_rows_of_the_runtimes(run, tmp_path, monkeypatch):
    def no_compiler(*args, **kwargs):
        raise RuntimeError('no C++ compiler\nmore lines')

    monkeypatch.setattr(torch, 'compile', no_compiler)
    real = open_file

    def lose_an_operator(path, runtime, threads):
        run = real(path, runtime, threads)
        return run if runtime != 'pt2' else lambda frames: run(frames) * 0.99

    monkeypatch.setattr(runtimes, 'open_file', lose_an_operator)
    monkeypatch.setitem(sys.modules, 'openvino', None)
    only = ('compile', 'torchscript', 'pt2', 'openvino')
    rows, data = run('runtimes', '--only', *only)
    latency, throughput = data['tables']
    assert (latency['batch'], throughput['batch']) == (1, 2)
    names = [name for name, _ in rows]
    assert names == ['PyTorch eager', 'TorchScript']
    reasons = {each['candidate']: each['reason'] for each in latency['not_run']}
    assert reasons['torch.compile'] == 'RuntimeError: no C++ compiler'
    assert reasons['PT2'] == 'log probabilities differ from eager by 0.01'
    assert "install 'selfy-mmaction[openvino]'" in reasons['OpenVINO']
    for row in throughput['rows']:
        seconds = np.median(row['all_seconds'])
        assert row['clips_per_s'] == pytest.approx(2 / seconds)
        ratios = np.divide(row['all_seconds'], throughput['rows'][0]['all_seconds'])
        assert row['ratio'] == pytest.approx(np.quantile(ratios, [0.25, 0.5, 0.75]))
        assert row['difference'] <= 1e-3
    table = (tmp_path / 'runtimes.md').read_text()
    assert '\nslim, threads 1, batch 2\n' in table
    assert '- torch.compile: RuntimeError: no C++ compiler\n' in table


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ('--threads 1 4096', '--threads 4096: only'),
        ('--repeats 3', '--repeats 3: must be 4 or more'),
        ('--batch 1', '--batch 1: must be 2 or more; one clip is the latency'),
    ],
)
def test_invalid_options_of_the_runtimes(run, capsys, args, message):
    with pytest.raises(SystemExit, match='2'):
        run('runtimes', *args.split())
    assert message in capsys.readouterr().err


def test_official_code_as_baseline(run, tmp_path, capsys):
    path = tmp_path / 'ops' / 'selfy.py'
    path.parent.mkdir()
    path.write_text(OFFICIAL)
    args = ('--official', str(tmp_path))
    names = ['ours', 'all pairs', 'official code, fallback', 'official code, sampler']
    for options, count in (((), 3), (('--sampler',), 4)):
        rows, _ = run('op', *args, *options)
        assert [name for name, pass_ in rows if pass_ == 'forward'] == names[:count]
    for old, new, message in (
        ('(out +', '(1.0001 * out +', 'fallback does not match ours (for'),
        ('Sampler(out)', 'Sampler(out[1:])', 'sampler does not match ours'),
        ('self.downsample(x)', 'x @ x[:, :2]', 'fallback does not support this case'),
        ('\nSpatial', '\nNo', '--sampler: cannot import the compiled sampler'),
        ('import torch as tr', 'import no_einops', "No module named 'no_einops'"),
    ):
        path.write_text(OFFICIAL.replace(old, new))
        with pytest.raises(SystemExit, match='2'):
            run('op', *args, '--sampler')
        assert message in capsys.readouterr().err


def test_peak_memory_counts_simultaneous_tensors():
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
        ('--threads 4096', '--threads 4096: only'),
        ('--batch 0', 'argument --batch: must be 1 or more, but got 0'),
        ('--repeats 1', '--repeats 1: must be 2 or more'),
        ('--window 8', '--l 3 --window 8: both must be odd'),
        ('--sampler', '--sampler requires --official PATH'),
        ('--official nowhere', 'nowhere/ops/selfy.py not found; pass a clone of'),
    ],
)
def test_invalid_options(run, capsys, args, message):
    with pytest.raises(SystemExit, match='2'):
        run('op', *args.split())
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='reads the memory from /proc')
def test_memory_of_live_recognition(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['live.py', '--minutes', '0.1'])
    runpy.run_path(str(ROOT / 'benchmarks' / 'live.py'), run_name='__main__')
    output = capsys.readouterr().out
    assert '17 results' in output  # 24 frames, the first result with the eighth
    assert 'right 0 frames after the last of a clip: 100.0% of 3' in output
    assert 'minute   0.0:' in output
