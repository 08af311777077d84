# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Figures that metafiles report for a config."""

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from selfy_mmaction.compat.package_configs import find_configs

_PACKAGE = Path(__file__).resolve().parents[2]
_BY_THE_PAPER = ' reported by the paper'


class Reported(NamedTuple):
    """Figures that the authors of a network reported.

    Attributes:
        source: ``'paper'``, or ``'metafile'`` for results of the config's own package.
        dataset: Name of the dataset.
        metrics: Accuracies in percent by name, the main one first.
        note: Clips and views per video and ensembles, if there are several.
        gflops: G multiply-adds per clip.
        training_gb: Training memory in GB.
        inference_ms: Time of inference in ms.
    """

    source: str
    dataset: str
    metrics: dict[str, float]
    note: str = ''
    gflops: float | None = None
    training_gb: float | None = None
    inference_ms: float | None = None


def find_reported(config: Path) -> Reported | None:
    """Find what the metafiles next to a config report.

    The metafiles are those of the ``model-index.yml`` in one of the folders above. Of
    several entries of a config, the one with the fewest clips and views counts, without
    ensembles, and memory and time may come from another one.

    Args:
        config: Path of the config.

    Returns:
        The figures; None if there are no accuracies.

    Raises:
        ValueError: If a metafile is damaged.
    """
    config = config.resolve()
    root = next((p for p in config.parents if (p / 'model-index.yml').is_file()), None)
    if root is None:
        return None
    entries = [
        entry
        for entry in _entries(root, config.name)
        if (root / entry['Config']).resolve() == config
        and 'Ensemble with' not in entry['Metadata']
    ]
    found = [_read(entry) for entry in sorted(entries, key=_num_views)]
    found = [each for each in found if each.metrics]
    if not found:
        return None
    best = found[0]
    for other in found:
        for name in ('gflops', 'training_gb', 'inference_ms'):
            if getattr(best, name) is None:
                best = best._replace(**{name: getattr(other, name)})
    return best


def find_table(name: str) -> list[tuple[str, Reported]]:
    """Find the configs of a table of the paper.

    Args:
        name: Name as in the metafiles, such as ``'sup3g_efficiency'``.

    Returns:
        Name of the config, such as ``'selfy_mmaction::selfy/NAME.py'``, and reported
        figures of each row. Ensembles and further rows of a config are omitted.

    Raises:
        ValueError: If there is no such table.
    """
    root = find_configs(_PACKAGE).parent
    entries = [e for e in _entries(root) if 'Paper table' in e['Metadata']]
    names = list(dict.fromkeys(entry['Metadata']['Paper table'] for entry in entries))
    if name not in names:
        close = difflib.get_close_matches(name, names, cutoff=0.3) or names
        raise ValueError(f'there is no table {name!r}; choose {", ".join(close)}')
    rows: dict[str, Reported] = {}
    for entry in entries:
        metadata = entry['Metadata']
        if metadata['Paper table'] == name and 'Ensemble with' not in metadata:
            config = entry['Config'].replace('configs/', 'selfy_mmaction::', 1)
            rows.setdefault(config, _read(entry))
    return list(rows.items())


def _entries(root: Path, text: str = '') -> Iterator[dict[str, Any]]:
    """Iterate over the models of the metafiles that contain a text."""
    path = root / 'model-index.yml'
    try:
        imports = yaml.safe_load(path.read_text(encoding='utf-8'))['Import']
        for path in (root / each for each in imports):
            content = path.read_text(encoding='utf-8')
            # Most metafiles need not be parsed, which is slow.
            for entry in yaml.safe_load(content)['Models'] if text in content else ():
                yield {'Metadata': {}, 'Results': [], **entry}
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f'{path} cannot be read as a metafile: {error!r}') from error


def _num_views(entry: dict[str, Any]) -> int:
    metadata = entry['Metadata']
    return metadata.get('Clips', 1) * metadata.get('Views', 1)


def _read(entry: dict[str, Any]) -> Reported:
    metadata = entry['Metadata']
    result: dict[str, Any] = next(iter(entry['Results']), {})
    metrics = {
        name: float(value)
        for name, value in (result.get('Metrics') or {}).items()
        if isinstance(value, (int, float))
    }
    notes = [
        f'{metadata[key]} {key.lower()}'
        for key in ('Clips', 'Views')
        if metadata.get(key, 1) != 1
    ]

    def number(name: str) -> float | None:
        found = re.match(r'[\d.]+', str(metadata.get(name + _BY_THE_PAPER, '')))
        return float(found[0]) if found else None

    return Reported(
        'paper' if any(_BY_THE_PAPER in name for name in metrics) else 'metafile',
        str(result.get('Dataset', '')),
        {name.removesuffix(_BY_THE_PAPER): value for name, value in metrics.items()},
        ', '.join(notes),
        number('FLOPs'),
        number('Training memory'),
        number('Inference time'),
    )
