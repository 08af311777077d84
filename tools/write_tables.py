# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Generate the tables of README.md and docs from the metafiles and our results."""

import argparse
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
FILES = (
    'README.md',
    'docs/recipes.md',
    'docs/ablations.md',
    'docs/evidence.md',
    'docs/methods.md',
)
BEGIN, END = '<!-- begin {} -->\n', '<!-- end {} -->\n'


def read_models() -> dict[str, list[dict]]:
    """Read the models of all metafiles, grouped by table, in row order."""
    tables: dict[str, list[dict]] = {}
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    for path in index['Import']:
        for model in yaml.safe_load((ROOT / path).read_text())['Models']:
            if 'Paper table' in model['Metadata']:
                tables.setdefault(model['Metadata']['Paper table'], []).append(model)
    return tables


def render(models: list[dict]) -> str:
    """Format one table of the paper as Markdown.

    Args:
        models: Entries of a metafile.

    Returns:
        One row per entry: config, dataset, our FLOPs, the paper's FLOPs, and the
        accuracies that the paper reports.
    """
    rows = [
        '| config | data | FLOPs, ours | FLOPs, paper | accuracy, paper (%) |',
        '| --- | --- | --- | --- | --- |',
    ]
    for model in models:
        metadata, (result,) = model['Metadata'], model['Results']
        name = Path(model['Config']).stem
        links = f'[{name}]({{up}}{model["Config"]})'
        if 'Ensemble with' in metadata:
            other = metadata['Ensemble with']
            links += f' + [{Path(other).stem}]({{up}}{other})'
        for key, unit in (('Clips', 'clips'), ('Views', 'views')):
            if metadata.get(key, 1) != 1:
                links += f', {metadata[key]} {unit}'
        accuracy = ', '.join(
            f'{name.replace(" reported by the paper", "").replace(" Accuracy", "")} '
            f'{value}'
            for name, value in result['Metrics'].items()
        )
        cells = (
            links,
            result['Dataset'],
            metadata['FLOPs'],
            metadata.get('FLOPs reported by the paper', ''),
            accuracy,
        )
        rows.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(rows) + '\n'


def read_reports() -> dict[str, str]:
    """Read the tables that reproduce.py wrote, each with the paragraph below it.

    Returns:
        Tables by name, such as ``'results/stories-small/findings.md 1'`` for the first
        table of a file.
    """
    tables = {}
    for path in sorted((ROOT / 'docs' / 'results').glob('*/*.md')):
        parts = path.read_text().strip().split('\n\n')
        starts = [i for i, part in enumerate(parts) if part.startswith('|')]
        for number, start in enumerate(starts, 1):
            name = f'{path.relative_to(ROOT / "docs").as_posix()} {number}'
            tables[name] = '\n\n'.join(parts[start : start + 2]) + '\n'
    return tables


def update(text: str, tables: dict[str, str], up: str) -> str:
    """Replace each table between its two markers.

    Args:
        text: Text of a Markdown file.
        tables: Markdown of the tables by name.
        up: Path from the file's folder to the root, '' or '../'.

    Returns:
        The text with current tables.
    """
    for name, table in tables.items():
        begin, end = BEGIN.format(name), END.format(name)
        if begin in text:
            before, rest = text.split(begin)
            after = rest.split(end)[1]
            text = before + begin + table.replace('{up}', up) + end + after
    return text


def main() -> None:
    """Write the tables, or check that they are up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--check',
        action='store_true',
        help='write nothing; fail if a table is out of date',
    )
    args = parser.parse_args()
    tables = {name: render(models) for name, models in read_models().items()}
    tables |= read_reports()
    for name in FILES:
        path = ROOT / name
        current = path.read_text()
        updated = update(current, tables, '../' * name.count('/'))
        if args.check and updated != current:
            sys.exit(f'{name} is out of date: run python tools/write_tables.py')
        if not args.check:
            path.write_text(updated)


if __name__ == '__main__':
    main()
