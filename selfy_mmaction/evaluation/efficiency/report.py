# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Costs of networks as a table in Markdown, CSV and JSON."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from selfy_mmaction.atomic_files import replacing

from ..time_and_memory import cpu_name
from .measure import Row, Settings

#: Extensions of the files of results.
FORMATS = ('.csv', '.json')


def describe_settings(settings: Settings) -> dict[str, Any]:
    """Return what the figures depend on besides the networks."""
    cuda = settings.device.type == 'cuda'
    return dict(
        device=str(settings.device),
        device_name=torch.cuda.get_device_name(settings.device) if cuda else cpu_name(),
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        dtype=str(settings.dtype).removeprefix('torch.'),
        batch_size=settings.batch_size,
        repeats=settings.repeats,
    )


def make_record(row: Row) -> dict[str, Any]:
    """Return a row as a flat dict of names, numbers and text; None is not measured."""
    variant, reported = row.variant, row.variant.reported
    record: dict[str, Any] = dict(
        name=variant.name,
        config=variant.path,
        **{f'option_{name}': str(value) for name, value in variant.changes.items()},
        shape='x'.join(map(str, row.shape)) if row.shape else None,
        parameters=row.parameters,
        multiply_adds=row.multiply_adds,
        training_memory_bytes=row.training_bytes,
    )
    for name, values, unit in (
        ('latency_ms', row.latency, 1000),
        ('clips_per_second', row.throughput, 1),
    ):
        for number, part in enumerate(('q1', 'median', 'q3')):
            record[f'{name}_{part}'] = values[number] * unit if values else None
    if reported:
        record.update(
            reported_source=reported.source,
            reported_dataset=reported.dataset,
            **{
                f'reported_{name.lower().replace(" ", "_")}': value
                for name, value in reported.metrics.items()
            },
            reported_note=reported.note,
            reported_gflops=reported.gflops,
            reported_training_memory_gb=reported.training_gb,
            reported_inference_ms=reported.inference_ms,
        )
    record['error'] = '; '.join(row.errors)
    return record


def write_results(path: Path, rows: Sequence[Row], settings: Settings) -> None:
    """Write a ``.json`` file with settings and rows, or a ``.csv`` file.

    The CSV file repeats the settings in each row. The file is replaced as a whole.

    Raises:
        OSError: If the file cannot be written.

    Example:
        >>> import json, tempfile
        >>> from pathlib import Path
        >>> import torch
        >>> from mmengine.config import Config
        >>> from selfy_mmaction.evaluation.efficiency import measure, report
        >>> row = measure.Row(measure.Variant('tsn', 'tsn.py', Config(), changes={}))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, 'costs.json')
        ...     report.write_results(path, [row], measure.Settings(torch.device('cpu')))
        ...     sorted(json.loads(path.read_text()))
        ['rows', 'settings']
    """
    facts, records = describe_settings(settings), [make_record(row) for row in rows]
    with (
        replacing(path) as partial,
        partial.open('w', encoding='utf-8', newline='') as file,
    ):
        if path.suffix.lower() == '.json':
            content = dict(settings=facts, rows=records)
            json.dump(content, file, indent=2, ensure_ascii=False)
            file.write('\n')
            return
        records = [{**record, **facts} for record in records]
        # Columns that only some rows have keep their places before the last ones.
        columns = dict.fromkeys(key for record in records for key in record)
        last = ('error', *facts)
        names = [name for name in columns if name not in last]
        writer = csv.DictWriter(file, [*names, *last])
        writer.writeheader()
        writer.writerows(records)


def show_table(rows: Sequence[Row], settings: Settings) -> str:
    """Format rows as Markdown, with what others reported next to our figures.

    Example:
        >>> import torch
        >>> from mmengine.config import Config
        >>> from selfy_mmaction.evaluation.efficiency import measure, report
        >>> variant = measure.Variant('tsn', 'tsn.py', Config(), changes={})
        >>> row = measure.Row(variant, (8, 3, 224, 224), 24_327_632, 32_881_262_592)
        >>> settings = measure.Settings(torch.device('cpu'), measures=())
        >>> print(report.show_table([row], settings))
        | network | input | parameters (M) | multiply-adds (G) |
        | --- | --- | --- | --- |
        | tsn | 8x3x224x224 | 24.33 | 32.88 |
    """
    facts = describe_settings(settings)
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ('network', lambda row: row.variant.name.replace('|', '\\|')),
        ('input', lambda row: 'x'.join(map(str, row.shape or ()))),
        ('parameters (M)', lambda row: _number(row.parameters, 1e6)),
        ('multiply-adds (G)', lambda row: _number(row.multiply_adds, 1e9)),
        ('multiply-adds, paper (G)', _reported('gflops')),
        ('training memory (GiB)', lambda row: _number(row.training_bytes, 2**30)),
        ('training memory, paper (GB)', _reported('training_gb')),
        ('latency (ms)', lambda row: _spread(row.latency, 1000)),
        ('latency, paper (ms)', _reported('inference_ms')),
        ('clips per second', lambda row: _spread(row.throughput, 1)),
        *_accuracy_columns(rows),
        ('error', lambda row: '; '.join(row.errors).replace('|', '\\|')),
    ]
    cells = [[text(row) for row in rows] for _, text in columns]
    shown = [index for index, column in enumerate(cells) if any(column)]
    lines = [[columns[index][0] for index in shown], ['---'] * len(shown)]
    lines += [[cells[index][number] for index in shown] for number in range(len(rows))]
    notes = []
    if settings.measures:
        notes.append(
            f'Measured on {facts["device_name"]}, {facts["threads"]} CPU thread(s), '
            f'{facts["dtype"]}, torch {facts["torch"]}.'
        )
    if settings.measures and settings.device.type == 'cpu':
        notes.append('Not measured on a GPU.')
    if 'memory' in settings.measures:
        notes.append(f'Training step: {facts["batch_size"]} clip(s).')
    if 'time' in settings.measures:
        notes.append(
            f'Latency: 1 clip. Throughput: batches of {facts["batch_size"]}. Medians '
            f'of {facts["repeats"]} rounds (first to third quartile).'
        )
    sources = {r.variant.reported.source for r in rows if r.variant.reported}
    if 'paper' in sources:
        notes.append(
            'Figures of the paper are from its own training and GPU; the weights here '
            'are random.'
        )
    table = '\n'.join(f'| {" | ".join(line)} |' for line in lines)
    return '\n\n'.join([table, *([' '.join(notes)] if notes else [])])


def _number(value: float | None, unit: float) -> str:
    return '' if value is None else f'{value / unit:.4g}'


def _spread(values: Sequence[float] | None, unit: float) -> str:
    if values is None:
        return ''
    low, median, high = (_three_digits(value * unit) for value in values)
    return f'{median} ({low} to {high})'


def _three_digits(value: float) -> str:
    return f'{value:.0f}' if value >= 100 else f'{value:.3g}'


def _reported(attribute: str) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        value = getattr(row.variant.reported, attribute, None)
        return '' if value is None else f'{value:g}'

    return text


def _accuracy_columns(rows: Sequence[Row]) -> list[tuple[str, Callable[[Row], str]]]:
    """One column per dataset, source and metric."""
    keys = {
        (reported.dataset, reported.source, metric)
        for row in rows
        if (reported := row.variant.reported)
        for metric in reported.metrics
    }

    def column(dataset: str, source: str, metric: str) -> Callable[[Row], str]:
        def text(row: Row) -> str:
            reported = row.variant.reported
            if not reported or (reported.dataset, reported.source) != (dataset, source):
                return ''
            value = reported.metrics.get(metric)
            note = f' ({reported.note})' if reported.note else ''
            return '' if value is None else f'{value:g}{note}'

        return text

    return [
        (
            f'{metric.removesuffix(" Accuracy")}, {dataset}, {source} (%)',
            column(dataset, source, metric),
        )
        for dataset, source, metric in sorted(keys)
    ]
