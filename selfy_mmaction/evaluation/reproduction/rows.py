# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The rows of a table of the paper, from the metafile of its configs."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from selfy_mmaction.compat.package_configs import find_configs
from selfy_mmaction.text_files import read_text

ALL = 'all'
ROBUSTNESS = 'section4.7'
"""Table without own runs: the rows of :data:`SIMILARITY` on corrupted splits."""
SIMILARITY = 'table4a_similarity'
PAPER_TOP1 = 'Top 1 Accuracy reported by the paper'


@dataclass(frozen=True)
class Row:
    """Row of a table.

    Attributes:
        label: Name in the report.
        group: Rows that are compared with each other, such as those of a backbone.
        config: Config as the metafile names it.
        path: File of the config.
        paper: Top-1 accuracy that the paper reports, in percent; None for a control.
        is_reference: Whether the other rows of the group are compared with this one.
        learning_rates: Learning rates to choose from; empty for the config's own.
        has_controls: Whether it is also tested on parts of the order: the configs next
            to the folders of the tables.
    """

    label: str
    group: str
    config: str
    path: Path
    paper: float | None
    is_reference: bool
    learning_rates: tuple[float, ...]
    has_controls: bool = False


@dataclass(frozen=True)
class Table:
    """Table of the paper, or one of ours.

    Attributes:
        key: Name of its folder of configs, or :data:`ROBUSTNESS`.
        title: Title for readers, such as ``'Table 4a: similarity'``.
        rows: Its rows in the order of the metafile.
    """

    key: str
    title: str
    rows: tuple[Row, ...]


def default_configs() -> Path:
    """Return the folder of the tables that this package has.

    Example:
        >>> from selfy_mmaction.evaluation.reproduction.rows import default_configs
        >>> default_configs().parts[-3:]
        ('configs', 'motion', 'stories')
    """
    return find_configs(Path(__file__).resolve().parents[2]) / 'motion' / 'stories'


def read_tables(configs: Path) -> dict[str, Table]:
    """Read all tables.

    Args:
        configs: Folder with one folder per table; each has a ``metafile.yml``.

    Returns:
        Tables by key, those of the paper before those of its supplement, then
        :data:`ROBUSTNESS`.

    Raises:
        FileNotFoundError: If there is no table, or a config is missing.
        ValueError: If a metafile is damaged or its values are invalid.

    Example:
        >>> from selfy_mmaction.evaluation.reproduction import rows
        >>> tables = rows.read_tables(rows.default_configs())
        >>> tables['table4a_similarity'].title
        'Table 4a: similarity'
        >>> [row.label for row in tables['table4a_similarity'].rows[:3]]
        ['TSN, no block', 'TSN, {0}', 'TSN, {1}']
    """
    paths = sorted(configs.resolve().glob('*/metafile.yml'))
    if not paths:
        raise FileNotFoundError(
            f'{configs} has no tables, expected folders with a metafile.yml; choose '
            'another folder with --configs'
        )
    paths.sort(key=lambda path: path.parent.name.startswith('sup'))
    tables = {path.parent.name: _read_table(path) for path in paths}
    if SIMILARITY in tables:
        title = 'Section 4.7: corrupted center frame'
        tables[ROBUSTNESS] = Table(ROBUSTNESS, title, tables[SIMILARITY].rows)
    _check_learning_rates(tables)
    return tables


def choose_tables(tables: dict[str, Table], names: Sequence[str]) -> list[Table]:
    """Find tables by name.

    Args:
        tables: Result of :func:`read_tables`.
        names: Keys, or what is before their first underscore, such as ``'table4a'``;
            :data:`ALL` for all.

    Raises:
        ValueError: If there is no table of this name.

    Example:
        >>> from selfy_mmaction.evaluation.reproduction import rows
        >>> tables = rows.read_tables(rows.default_configs())
        >>> [table.key for table in rows.choose_tables(tables, ['table4a'])]
        ['table4a_similarity']
    """
    if ALL in names:
        return list(tables.values())
    known = {key.partition('_')[0]: key for key in tables} | {
        key: key for key in tables
    }
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known)
            hint = f'; did you mean {", ".join(close)}?' if close else ''
            raise ValueError(
                f'there is no table {name!r}, only {", ".join(tables)} and {ALL}{hint}'
            )
    return [tables[key] for key in dict.fromkeys(known[name] for name in names)]


def _read_table(path: Path) -> Table:
    try:
        content = yaml.safe_load(read_text(path))
        models = content['Models']
        rows = tuple(_read_row(model, path) for model in models)
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{path} is not a metafile with Models ({type(error).__name__}: {error})'
        ) from error
    if not rows:
        raise ValueError(f'{path} has no rows')
    for what in ('label', 'config'):
        values = [getattr(row, what) for row in rows]
        for value in values:
            if values.count(value) > 1:
                raise ValueError(f'{path} has several rows with the {what} {value!r}')
    for group in dict.fromkeys(row.group for row in rows):
        references = [r.label for r in rows if r.group == group and r.is_reference]
        if len(references) > 1:
            raise ValueError(
                f'{path} has the references {", ".join(references)} in group '
                f'{group!r}, expected one at most; set Reference: true in one row of '
                'each group'
            )
    key = path.parent.name
    return Table(key, str(content.get('Title') or _default_title(key)), rows)


def _default_title(key: str) -> str:
    number, _, words = key.partition('_')
    number = re.sub('^sup', 'Supplement, Table ', number)
    number = re.sub('^table', 'Table ', number)
    return f'{number}: {words.replace("_", " ")}' if words else number


def _read_row(model: dict[str, Any], metafile: Path) -> Row:
    metadata, config = model.get('Metadata') or {}, model['Config']
    metrics: dict[str, float] = {}
    for result in model.get('Results') or []:
        metrics.update(result.get('Metrics') or {})
    path = _find_config(config, metafile)
    # Configs next to the folders of the tables are the defaults: of each backbone, one
    # with SELFY.
    is_shared = path.parent == metafile.parent.parent
    is_default = is_shared and path.stem.startswith('selfy')
    return Row(
        label=str(metadata.get('Row', path.stem)),
        group=str(metadata.get('Group', _backbone(path.stem))),
        config=config,
        path=path,
        paper=metrics.get(PAPER_TOP1),
        is_reference=bool(metadata.get('Reference', is_default)),
        learning_rates=_learning_rates(metadata.get('Learning rates', []), metafile),
        has_controls=is_shared,
    )


def _find_config(config: str, metafile: Path) -> Path:
    # Like other metafiles, relative to the folder with the configs.
    for folder in metafile.parents:
        if (folder / config).is_file():
            return folder / config
    raise FileNotFoundError(
        f'the config {config!r} of {metafile} is in none of the folders above it'
    )


def _backbone(stem: str) -> str:
    return ' '.join(
        word.upper() for word in ('tsn', 'tsm') if word in re.split('[-_]', stem)
    )


def _learning_rates(values: Any, metafile: Path) -> tuple[float, ...]:
    valid = isinstance(values, list) and all(
        isinstance(value, int | float) and value > 0 for value in values
    )
    if not valid or len(set(values)) != len(values):
        raise ValueError(
            f'{metafile} has Learning rates: {values}, expected a list of different '
            'positive numbers, such as [0.002, 0.004] (YAML reads 2e-3 as text)'
        )
    return tuple(float(value) for value in values)


def _check_learning_rates(tables: dict[str, Table]) -> None:
    """Check that a config has the same search in each table, as its runs are shared."""
    found: dict[Path, tuple[str, Row]] = {}
    for key, table in tables.items():
        for row in table.rows:
            other_key, other = found.setdefault(row.path, (key, row))
            if row.learning_rates != other.learning_rates:
                raise ValueError(
                    f'{row.config} has the learning rates {list(row.learning_rates)} '
                    f'in {key}, but {list(other.learning_rates)} in {other_key}; give '
                    'the same ones'
                )
