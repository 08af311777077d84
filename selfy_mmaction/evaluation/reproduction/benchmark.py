# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The generated clips that the runs use."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfy_mmaction.atomic_files import replacing
from selfy_mmaction.motion_benchmark import class_names, clip_label, make_motion
from selfy_mmaction.motion_benchmark.presets import get_preset
from selfy_mmaction.motion_benchmark.stories.stories import STORIES

VAL = 'val'


@dataclass(frozen=True)
class Benchmark:
    """Generated benchmark.

    Attributes:
        folder: Folder that ``tools/data/make_motion.py`` wrote.
        identity: Preset, generator version, seed and fingerprint.
        splits: Number of clips of each validation split; ``'val'`` is the first.
    """

    folder: Path
    identity: Mapping[str, Any]
    splits: Mapping[str, int]

    @property
    def preset(self) -> str:
        """Name of the preset."""
        return self.identity['preset']

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels."""
        return class_names(self.preset)

    @property
    def num_partners(self) -> int:
        """Number of consecutive classes that are orders of the same frames."""
        return get_preset(self.preset).num_partners

    @property
    def stories(self) -> tuple[str, ...]:
        """Name of each group of classes that are orders of the same frames."""
        names = {story.classes[0]: name for name, story in STORIES.items()}
        firsts = (kind.classes[0] for kind in get_preset(self.preset).kinds)
        return tuple(names.get(first, first) for first in firsts)

    def labels(self, split: str) -> list[int]:
        """Return the labels of the clips of a split."""
        return [clip_label(self.preset, index) for index in range(self.splits[split])]


def open_benchmark(folder: Path) -> Benchmark:
    """Read a generated benchmark and compare its files with its fingerprint.

    Raises:
        FileNotFoundError: If it has not been generated.
        OSError: If it cannot be read, or is that of another generator version.
        RuntimeError: If its files differ from its fingerprint.
        ValueError: If its ``motion.json`` is damaged or unfinished.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from selfy_mmaction.evaluation.reproduction.benchmark import open_benchmark
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     open_benchmark(Path(folder))
        Traceback (most recent call last):
            ...
        FileNotFoundError: ... generate the benchmark with ...
    """
    record = folder / 'motion.json'
    command = f'python tools/data/make_motion.py {folder} --preset PRESET'
    if not record.is_file():
        raise FileNotFoundError(
            f'{record} does not exist; generate the benchmark with {command}'
        )
    try:
        recorded = json.loads(record.read_text(encoding='utf-8'))
        preset, seed = recorded['preset'], recorded['seed']
        get_preset(preset)
        fingerprint = recorded['fingerprint']
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{record} is that of an unfinished or damaged benchmark '
            f'({type(error).__name__}: {error}); complete it with {command}'
        ) from error
    summary = make_motion(folder, preset, seed)
    splits = {VAL: summary['clips'][VAL]}
    for split, clips in summary['clips'].items():
        if split.startswith('val'):
            splits[split] = clips
    identity = {
        'preset': preset,
        'version': summary['version'],
        'seed': seed,
        'fingerprint': fingerprint,
    }
    return Benchmark(folder, identity, splits)


def join_lists(benchmark: Benchmark, path: Path) -> None:
    """Write one annotation list with the clips of all validation splits, in order."""
    lists = (benchmark.folder / f'{split}.txt' for split in benchmark.splits)
    with replacing(path) as partial:
        text = ''.join(each.read_text(encoding='utf-8') for each in lists)
        partial.write_text(text, encoding='utf-8')
