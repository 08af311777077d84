# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The command line that all benchmarks share, and what it sets in motion."""

import argparse
import copy
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from measuring import Candidate, Limits, Measurement, measure, measure_limits
from peers import Peers
from reporting import Report, describe_machine

from selfy_mmaction.ops import check_offsets, check_window

SCALES = ('t', 'l', 'window', 'size', 'batch', 'threads')
DTYPES = ('float32', 'float16', 'bfloat16')


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        frames: Frames per clip, T.
        offsets: Temporal offsets.
        window: ``(U, V)``.
        size: Height and width of the input.
        channels: Channels of the input.
        batch: Clips.
        threads: Of the CPU.

    Raises:
        ValueError: Any of them is unusable.
    """

    frames: int
    offsets: tuple[int, ...]
    window: tuple[int, int]
    size: tuple[int, int]
    channels: int
    batch: int
    threads: int

    def __post_init__(self) -> None:
        check_offsets(self.offsets)
        check_window(self.window)
        for name in ('frames', 'channels', 'batch', 'threads'):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f'{name} must be 1 or more, but got {value}')
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f'size must be 1 or 2 positive numbers, not {self.size}')
        if self.threads > _cpus():
            raise ValueError(
                f'threads={self.threads}, but this process may use {_cpus()} CPUs only'
            )

    def scaled(self, scale: str, value: int) -> 'Case':
        """The same with another value of one of ``SCALES``."""
        if scale == 'l':
            if value < 1 or value % 2 == 0:
                raise ValueError(f'l={value}: offsets -n to n are an odd number')
            return replace(self, offsets=tuple(range(-(value // 2), value // 2 + 1)))
        if scale in ('window', 'size'):
            return replace(self, **{scale: (value, value)})
        return replace(self, **{'frames' if scale == 't' else scale: value})


@dataclass(frozen=True)
class Settings:
    """Where and how everything runs; ``args`` has the options of one benchmark."""

    device: torch.device
    dtype: torch.dtype
    peers: Peers
    args: argparse.Namespace

    @property
    def training_dtype(self) -> torch.dtype:
        """Of weights in training, which for half precision runs under autocast."""
        return torch.promote_types(self.dtype, torch.float32)

    def in_float64(self) -> 'Settings':
        """The same in float64; peers that fail in it are not noted."""
        peers = copy.copy(self.peers)
        peers.skipped = []
        return replace(self, dtype=torch.float64, peers=peers)


class _HelpFormatter(
    argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter
):
    pass


def make_parser(
    doc: str, baseline: str, size: int, channels: int | None = None
) -> argparse.ArgumentParser:
    """The options that all benchmarks have.

    Args:
        doc: What the benchmark does.
        baseline: What ratios refer to unless the user says otherwise.
        size: Default height and width of the input.
        channels: Default channels of the input. Default: None, three and no choice.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=_HelpFormatter)
    parser.set_defaults(channels=channels or 3)
    add = parser.add_argument
    add('--device', choices=['cpu', 'cuda'], default='cpu', help='where to run')
    add('--dtype', choices=DTYPES, default='float32', help='of features')
    add('--threads', type=int, default=1, help='of the CPU')
    add('--repeats', type=int, default=20, help='rounds')
    add('--batch', type=int, default=1, help='clips')
    add('--frames', type=int, default=8, help='per clip, T')
    add('--offsets', type=int, nargs='+', default=[-2, -1, 0, 1, 2], help='temporal')
    add('--window', type=int, nargs=2, default=[9, 9], help='U V')
    add('--size', type=int, nargs='+', default=[size], help='height and width, or both')
    if channels:
        add('--channels', type=int, help='of the input')
    scale_help = f'vary {", ".join(SCALES)}; batch=1,2,4 chooses the values'
    add('--scale', nargs='+', default=[], metavar='QUANTITY', help=scale_help)
    add('--baseline', default=baseline, help='what ratios refer to')
    add('--out', type=Path, default=Path('work_dirs/benchmarks'), help='folder')
    sampler_help = "the authors' compiled sampler (spatial-correlation-sampler)"
    add('--peer-sampler', action='store_true', help=sampler_help)
    released_help = "checkout of the authors' repository, of which ops/selfy.py is run"
    add('--peer-released', type=Path, metavar='PATH', help=released_help)
    return parser


def run(
    name: str,
    parser: argparse.ArgumentParser,
    build: Callable[[Case, Settings], list[Candidate]],
    build_steps: Callable[[Case, Settings], dict[str, list[Candidate]]] | None = None,
) -> None:
    """Read the command line, measure and write the report.

    Args:
        name: Of the benchmark, and of its files.
        parser: Of :func:`make_parser`, with options of its own.
        build: Makes the candidates for a case.
        build_steps: Makes tables of further candidates, the first of each its
            baseline, for the case of the command line. Default: None.
    """
    args = parser.parse_args()
    threads = torch.get_num_threads()
    try:
        case, scaling = _read_cases(args)
        settings = _read_settings(args)
        args.out.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(case.threads)
        candidates = build(case, settings)
        ours = [candidate.name for candidate in candidates if not candidate.is_peer]
        if args.baseline not in ours:
            raise ValueError(
                f'--baseline {args.baseline!r} is none of our candidates {ours}'
            )
    except (OSError, ValueError) as error:
        parser.exit(2, f'error: {error}\n')
    try:
        _run(name, settings, case, scaling, candidates, build, build_steps)
    except KeyboardInterrupt:
        parser.exit(130, f'\ninterrupted; finished tables, if any, are in {args.out}\n')
    finally:
        torch.set_num_threads(threads)


def _run(name, settings, case, scaling, candidates, build, build_steps) -> None:
    args = settings.args
    chosen = {key: vars(args)[key] for key in ('device', 'dtype', 'repeats')}
    report = Report(
        args.out / name,
        describe_machine(settings.device),
        dict(chosen, baseline=args.baseline),
        asdict(case),
        settings.peers.skipped,
    )
    limits: dict[int, Limits] = {}

    def measure_case(
        title: str, case: Case, candidates: Sequence[Candidate], baseline: str
    ) -> Measurement:
        if case.threads not in limits:
            _say("the machine's own limits")
            limits[case.threads] = measure_limits(settings.device, settings.dtype)
            report.add_limits(case.threads, limits[case.threads])
        _say(f'{title}: {"; ".join(candidate.name for candidate in candidates)}')
        return measure(
            candidates,
            baseline,
            args.repeats,
            limits[case.threads],
            settings.device,
            settings.dtype,
            lambda: build(case, settings.in_float64()),
        )

    report.add_results(measure_case(name, case, candidates, args.baseline))
    if build_steps is not None:
        for title, steps in build_steps(case, settings).items():
            report.add_steps(title, measure_case(title, case, steps, steps[0].name))
    for scale, values in scaling.items():
        for value in values:
            scaled = case.scaled(scale, value)
            torch.set_num_threads(scaled.threads)
            candidates = build(scaled, settings)
            title = f'{scale}={value}'
            found = measure_case(title, scaled, candidates, args.baseline)
            report.add_scaling(scale, value, found)
    print(f'\n{report.markdown()}\nJSON, table and plot: {report.path}.*')


def _read_cases(args: argparse.Namespace) -> tuple[Case, dict[str, list[int]]]:
    """The case of the command line, and values for each scaled quantity."""
    if args.repeats < 2:
        raise ValueError(f'--repeats {args.repeats}: quartiles need 2 or more')
    case = Case(
        args.frames,
        tuple(args.offsets),
        tuple(args.window),
        tuple(args.size) * (2 if len(args.size) == 1 else 1),
        args.channels,
        args.batch,
        args.threads,
    )
    side = max(case.size)
    defaults = dict(
        t=[4, 8, 16, 32],
        l=[1, 3, 5, 7, 9],
        window=[5, 9, 13, 17],
        size=[side // 2, side, side * 2],
        batch=[1, 2, 4, 8],
        threads=[2**i for i in range(_cpus().bit_length())],
    )
    scaling = {}
    for text in args.scale:
        scale, _, values = text.partition('=')
        if scale not in SCALES:
            raise ValueError(f'--scale {scale!r} is unknown; choose from {SCALES}')
        if scale == 'threads' and args.device != 'cpu':
            raise ValueError('--scale threads is for --device cpu')
        try:
            chosen = [int(value) for value in values.split(',')] if values else None
        except ValueError as error:
            raise ValueError(
                f'--scale {text!r} must be like {scale}=1,2,4, with whole numbers'
            ) from error
        scaling[scale] = chosen or defaults[scale]
        for value in scaling[scale]:
            case.scaled(scale, value)  # raises before long work
    return case, scaling


def _read_settings(args: argparse.Namespace) -> Settings:
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise ValueError('--device cuda: torch finds no CUDA device here')
    device = torch.device(args.device)
    peers = Peers(device, args.peer_sampler, args.peer_released)
    return Settings(device, getattr(torch, args.dtype), peers, args)


def _cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
