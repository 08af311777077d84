# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Latency and throughput of exported networks in the programs that run them.

    python benchmarks/runtimes.py --threads 1 2

PyTorch eager, torch.compile, TorchScript, PT2, ONNX Runtime (also int8) and OpenVINO
run the same uint8 frames on the CPU, each with the same number of threads, in rounds
that time every candidate once. Each is compared with eager first. What cannot run is
listed with the reason. The weights are random, so int8 is only timed;
examples/quantize_onnx.py gives its accuracy. docs/deploy.md shows the results.
"""

import itertools
import json
import os
import runpy
import shlex
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from argparse import RawDescriptionHelpFormatter as Formatter
from collections.abc import Callable
from datetime import datetime, timezone
from functools import cache, partial
from operator import truediv
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._inductor.config as inductor_config
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from network import initialize
from running import describe_machine, positive
from torch import nn

from selfy_mmaction.deployment.exported_network import ExportedNetwork
from selfy_mmaction.deployment.formats import FORMATS, Run, as_run, export
from selfy_mmaction.deployment.runtimes import open_file
from selfy_mmaction.evaluation.time_and_memory import quartiles, take_turns

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = {
    'SELFYNet-TSN-R18': 'selfy_tsn_r18',
    'SELFYNet-TSM-R50': 'selfy_tsm_r50',
    'slim': 'selfy_tsn_r18_slim',  # for a smoke test
}
EAGER, INT8 = 'PyTorch eager', 'ONNX Runtime, int8'
CANDIDATES = {
    'eager': EAGER,
    'compile': 'torch.compile',
    'torchscript': 'TorchScript',
    'pt2': 'PT2',
    'onnxruntime': 'ONNX Runtime',
    'int8': INT8,
    'openvino': 'OpenVINO',
}
FRAMES = 8
#: Largest difference of log probabilities from eager: rounding of float32, and of int8
#: with random weights. Probabilities of other inputs differ by more than the second.
TOLERANCE, INT8_TOLERANCE = 1e-3, 1.0


class Exports:
    """Files of a network, written when a candidate needs them."""

    def __init__(self, network: ExportedNetwork, clips: torch.Tensor, folder: Path):
        self.network, self.clips, self.folder = network, clips, folder
        self.write = cache(self._write)

    def _write(self, format: str) -> Path:
        path = self.folder / f'network{FORMATS[format]}'
        path.write_bytes(export(self.network, self.clips, format).content)
        return path

    def int8(self) -> Path:
        """Quantize the ONNX file as the example does."""
        out = self.folder / 'int8.onnx'
        if not out.exists():
            quantize = runpy.run_path(str(ROOT / 'examples' / 'quantize_onnx.py'))
            quantize['quantize'](self.write('onnx'), out, self.clips.numpy())
        return out


def build_network(name: str, size: int) -> tuple[ExportedNetwork, torch.Tensor]:
    """Build a network of the configs with random weights, and two clips of noise."""
    init_default_scope('mmaction')
    path = ROOT / 'configs' / '_base_' / 'models' / f'{NETWORKS[name]}.py'
    model = Config.fromfile(path).model
    model.backbone.update(pretrained=None, num_segments=FRAMES)
    # Zero-initialized, the block would be an identity and results always equal.
    model.backbone.selfy.block.zero_init_last_norm = False
    model = initialize(MODELS.build(model)).eval()
    classifier = model.cls_head.fc_cls
    # As initialized by the config, all probabilities would be almost equal.
    nn.init.normal_(classifier.weight, std=classifier.in_features**-0.5)
    generator = torch.Generator().manual_seed(0)
    shape = (2, FRAMES, 3, size, size)
    clips = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    network = ExportedNetwork(model, clips[0])
    # Without statistics, the features of an untrained network would grow with depth.
    norms = [
        m for m in network.modules() if isinstance(m, nn.modules.batchnorm._NormBase)
    ]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        network(clips)
    return network.eval(), clips


def candidates(files: Exports, threads: int) -> dict[str, Callable[[], Run]]:
    """Functions that open each candidate, by its name."""
    torch.set_num_threads(threads)

    def compiled() -> Run:
        torch.compiler.reset()
        # Compiled code has a fixed number; set, it is part of the key of its cache.
        inductor_config.cpp.threads = threads
        return as_run(torch.compile(files.network, dynamic=False))

    def opened(format: str, runtime: str) -> Run:
        return open_file(files.write(format), runtime, threads)

    openers = dict(
        eager=lambda: as_run(files.network),
        compile=compiled,
        torchscript=partial(opened, 'torchscript', 'torchscript'),
        pt2=partial(opened, 'pt2', 'pt2'),
        onnxruntime=partial(opened, 'onnx', 'onnxruntime'),
        int8=lambda: open_file(files.int8(), 'onnxruntime', threads),
        openvino=partial(opened, 'onnx', 'openvino'),
    )
    return {CANDIDATES[key]: opener for key, opener in openers.items()}


def measure(
    openers: dict[str, Callable[[], Run]], frames: np.ndarray, repeats: int
) -> dict[str, list[dict[str, Any]]]:
    """Compare all candidates with eager, then time them in rounds.

    Args:
        openers: Results of :func:`candidates`, eager first.
        frames: A batch of clips.
        repeats: Number of rounds.

    Returns:
        ``rows``, one per candidate, and ``not_run``, with the reasons. ``ms`` and
        ``ratio`` are quartiles.
    """
    runs, differences, not_run = {}, {}, []
    expected = logarithm(openers[EAGER]()(frames))
    for name, opener in openers.items():
        print(f'  {name}', file=sys.stderr)
        tolerance = INT8_TOLERANCE if name == INT8 else TOLERANCE
        try:
            run = opener()
            difference = float(np.abs(logarithm(run(frames)) - expected).max())
        except Exception as error:  # compilers and exporters raise any error
            lines = str(error).strip().splitlines() or ['']
            reason = f'{type(error).__name__}: {lines[0][:300]}'
            not_run.append(dict(candidate=name, reason=reason))
            continue
        if not difference <= tolerance:
            reason = f'log probabilities differ from eager by {difference:.2g}'
            not_run.append(dict(candidate=name, reason=reason))
            continue
        runs[name], differences[name] = partial(run, frames), difference
    seconds = take_turns(runs, repeats)
    rows = [
        {
            'candidate': name,
            'pass': f'batch {len(frames)}',
            'ms': quartiles(1000 * value for value in values),
            # Taken within rounds, so that varying machine load cancels out.
            'ratio': quartiles(map(truediv, values, seconds[EAGER])),
            'clips_per_s': len(frames) / quartiles(values)[1],
            'difference': differences[name],
            'all_seconds': values,
        }
        for name, values in seconds.items()
    ]
    return dict(rows=rows, not_run=not_run)


def logarithm(probabilities: np.ndarray) -> np.ndarray:
    """Return log probabilities; those below 1e-6 are mostly rounding."""
    return np.log(np.maximum(probabilities, 1e-6))


def markdown(data: dict[str, Any]) -> str:
    """Format all tables and their settings as Markdown."""
    facts = {**data['machine'], **data['options']}
    lines = [f'`{data["command"]}`, {data["date"]}', '']
    lines.append(', '.join(f'{key} {value}' for key, value in facts.items()))
    titles = ['', 'ms', 'times eager', 'clips per s', 'log difference']
    for table in data['tables']:
        case = ', '.join(f'{key} {table[key]}' for key in ('threads', 'batch'))
        lines += ['', f'{table["network"]}, {case}', '']
        cells = [titles, ['---'] * len(titles)]
        for row in table['rows']:
            cells.append([row['candidate']])
            for low, median, high in (row['ms'], row['ratio']):
                cells[-1].append(f'{median:.3g} ({low:.3g} to {high:.3g})')
            cells[-1] += [f'{row["clips_per_s"]:.3g}', f'{row["difference"]:.1g}']
        lines += [f'| {" | ".join(each)} |' for each in cells]
        lines += [''] * bool(table['not_run'])
        lines += [f'- {r["candidate"]}: {r["reason"]}' for r in table['not_run']]
    return '\n'.join(lines) + '\n'


def make_parser() -> ArgumentParser:
    """Create the parser."""
    parser = ArgumentParser(description=__doc__, formatter_class=Formatter)
    add = parser.add_argument
    for name, default, text in (
        ('repeats', 10, 'number of rounds for one clip; half as many for a batch'),
        ('batch', 8, 'clips per batch for the throughput'),
        ('size', 224, 'height and width of the frames'),
    ):
        text += ' (default: %(default)s)'
        add(f'--{name}', type=positive, default=default, help=text)
    add(
        '--threads',
        nargs='+',
        type=positive,
        default=[1],
        help='numbers of CPU threads, each for all candidates (default: %(default)s)',
    )
    add(
        '--networks',
        nargs='+',
        choices=NETWORKS,
        default=[*NETWORKS][:2],
        help='networks to measure (default: %(default)s)',
    )
    add(
        '--only',
        nargs='+',
        choices=[*CANDIDATES][1:],
        default=[*CANDIDATES][1:],
        help='what to compare with eager (default: %(default)s)',
    )
    text = 'run two rounds with a tiny network, as a smoke test'
    add('--quick', action='store_true', help=text)
    text = 'folder of the report (default: %(default)s)'
    add('--out', type=Path, default=Path('work_dirs/benchmarks'), help=text)
    return parser


def parse(parser: ArgumentParser) -> Namespace:
    """Parse and check the command line."""
    args = parser.parse_args()
    if args.quick:
        parser.set_defaults(networks=['slim'], repeats=4, batch=2, size=64)
        args = parser.parse_args()
    if max(args.threads) > os.cpu_count():
        number = max(args.threads)
        parser.error(f'--threads {number}: only {os.cpu_count()} CPUs available')
    if args.repeats < 4:
        parser.error(f'--repeats {args.repeats}: must be 4 or more')
    if args.batch < 2:
        parser.error(
            f'--batch {args.batch}: must be 2 or more; one clip is the latency'
        )
    return args


def main() -> None:
    """Run the command line."""
    parser = make_parser()
    args = parse(parser)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / 'runtimes'
    data = dict(
        command=shlex.join(['python', *sys.argv]),
        date=datetime.now(timezone.utc).isoformat(timespec='seconds'),
        machine=describe_machine('cpu'),
        options={name: str(value) for name, value in vars(args).items()},
        tables=[],
    )
    for name in args.networks:
        network, clips = build_network(name, args.size)
        with tempfile.TemporaryDirectory() as folder:
            files = Exports(network, clips, Path(folder))
            for threads, batch in itertools.product(args.threads, (1, args.batch)):
                print(f'{name}, threads {threads}, batch {batch}', file=sys.stderr)
                frames = clips.repeat(-(-batch // 2), 1, 1, 1, 1)[:batch].numpy()
                repeats = args.repeats if batch == 1 else args.repeats // 2
                table = dict(network=name, threads=threads, batch=batch)
                wanted = [CANDIDATES[key] for key in ('eager', *args.only)]
                openers = candidates(files, threads)
                openers = {each: openers[each] for each in wanted}
                table.update(measure(openers, frames, repeats))
                data['tables'].append(table)
                path.with_suffix('.json').write_text(json.dumps(data, indent=1))
                path.with_suffix('.md').write_text(markdown(data))
    print(f'\n{markdown(data)}\nAll times: {path}.json')


if __name__ == '__main__':
    main()
