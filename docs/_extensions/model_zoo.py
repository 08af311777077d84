# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""``{model-zoo}``: a table of all configs, from the metafiles."""

from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.addnodes import download_reference
from sphinx.application import Sphinx
from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[2]
# Folders of configs/, in the order of the rows.
ORDER = ('selfy', 'ablations', 'methods', 'mixing', 'own', 'motion')
COLUMNS = ('config', 'backbone', 'data', 'frames', 'FLOPs', 'accuracy (%)', 'from')
logger = logging.getLogger(__name__)


def read_models() -> list[dict[str, Any]]:
    """Read the models of all metafiles, in the order of model-index.yml."""
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))
    return [
        model
        for path in index['Import']
        for model in yaml.safe_load((ROOT / path).read_text(encoding='utf-8'))['Models']
    ]


def backbone_of(config: str) -> str:
    """Name the backbone that the name of a config starts with, such as TSM-R50."""
    parts = Path(config).stem.split('_')[0].split('-')
    for kind in ('tsm', 'tsn'):
        if kind in parts:
            depth = next((part for part in parts if part[0] == 'r' and part[1:]), '')
            return f'{kind}-{depth}'.rstrip('-').upper()
    names = {'timesformer': 'TimeSformer', 'slowonly': 'SlowOnly', 'i3d': 'I3D'}
    return next((names[part] for part in parts if part in names), 'other')


def rows() -> list[tuple[str, ...]]:
    """Return the rows of the zoo: path of the config, then the other columns.

    A config that several tables share has one row per dataset and accuracy.
    """
    found: dict[tuple[str, ...], None] = {}
    for model in read_models():
        config, metadata = model['Config'], model.get('Metadata', {})
        if config.startswith('configs/motion/stories/'):
            continue  # the accuracies are those of other networks: docs/evidence.md
        (result,) = model.get('Results') or [{}]
        metrics = result.get('Metrics', {})
        reported = [name for name in metrics if name.endswith('reported by the paper')]
        accuracies = ', '.join(
            name.removesuffix(' reported by the paper').replace(' Accuracy', '')
            + f' {value}'
            for name, value in metrics.items()
        )
        row = (
            config,
            backbone_of(config),
            result.get('Dataset', dataset_of(config)),
            str(metadata.get('Frames', frames_of(config))),
            str(metadata.get('FLOPs', '')),
            accuracies,
            'the paper' if reported else '',
        )
        found.setdefault(row)
    return sorted(found, key=lambda row: ORDER.index(row[0].split('/')[1]))


def dataset_of(config: str) -> str:
    """Name the dataset at the end of the name of a config."""
    names = {
        'motion': 'motion benchmark',
        'own': 'your own',
        'sthv1': 'Something-Something V1',
        'sthv2': 'Something-Something V2',
        'kinetics400': 'Kinetics-400',
    }
    end = Path(config).stem.rsplit('_', 1)[-1].removesuffix('-rgb')
    return names.get(end, end)


def frames_of(config: str) -> str:
    """Return the frames per clip in the name of a config, ``clips x interval x N``."""
    for part in Path(config).stem.replace('_', '-').split('-'):
        numbers = part.split('x')
        if len(numbers) == 3 and all(number.isdecimal() for number in numbers):
            return str(int(numbers[0]) * int(numbers[2]))
    return ''


class ModelZoo(Directive):
    """The table, with the classes by which ``zoo.js`` finds it."""

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        env = self.state.document.settings.env
        group = nodes.tgroup(cols=len(COLUMNS))
        group += [nodes.colspec(colwidth=1) for _ in COLUMNS]
        head, body = nodes.thead(), nodes.tbody()
        head += row_of([nodes.Text(name) for name in COLUMNS])
        for config, *others in rows():
            env.note_dependency(ROOT / config)
            link = download_reference(
                '', Path(config).stem, reftarget=f'/../{config}', refdoc=env.docname
            )
            body += row_of([link, *map(nodes.Text, others)])
        group += [head, body]
        table = nodes.table('', group, classes=['zoo'])
        return [nodes.container('', table, classes=['zoo-frame'])]


def row_of(cells: list[nodes.Node]) -> nodes.row:
    """Build a row of a table."""
    row = nodes.row()
    for cell in cells:
        row += nodes.entry('', nodes.paragraph('', '', cell))
    return row


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive and its script."""
    app.add_directive('model-zoo', ModelZoo)
    app.add_js_file('zoo.js')
    return dict(version='1', parallel_read_safe=True, parallel_write_safe=True)
