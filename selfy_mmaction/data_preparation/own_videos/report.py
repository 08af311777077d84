# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Report on a user's own videos: numbers of clips, durations, sizes, codecs."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from ..check_report import NUM_EXAMPLES, format_table
from .clips import SPLITS, Clip, name_some
from .inspection import Facts

IMBALANCE = 10  # times as many clips in the largest class as in the smallest


def describe_media(facts: Sequence[Facts]) -> dict:
    """Summarize durations, rates, sizes and codecs of videos.

    Returns:
        ``videos`` and ``rotated`` (counts), ``codecs`` (count per code), and the
        smallest, median and largest of ``seconds``, ``frames``, ``rate`` (frames per
        second) and ``size`` (width and height in pixels, by area). Unknown values are
        left out.
    """
    sizes = [[fact.width, fact.height] for fact in facts if fact.width]
    codecs = Counter(fact.codec or 'unknown' for fact in facts)
    return {
        'videos': len(facts),
        'seconds': _spread([round(fact.seconds, 2) for fact in facts if fact.seconds]),
        'frames': _spread([fact.frames for fact in facts if fact.frames]),
        'rate': _spread([fact.rate for fact in facts if fact.rate]),
        'size': _spread(sizes),
        'codecs': dict(codecs.most_common()),
        'rotated': sum(fact.rotated for fact in facts),
    }


def _spread(values: list) -> dict:
    if not values:
        return {}
    # By area: min() of sizes would compare their widths.
    values = sorted(values, key=np.prod)
    middle = values[(len(values) - 1) // 2]
    return {'smallest': values[0], 'median': middle, 'largest': values[-1]}


def note_classes(clips: Sequence[Clip], names: Sequence[str]) -> list[str]:
    """Return notes about classes without clips in val or test, or with few clips."""
    notes = []
    splits = defaultdict(set)
    for clip in clips:
        splits[clip.split].add(clip.label)
    for split in SPLITS[1:]:
        without = [name for name in names if name not in splits[split]]
        if without and splits[split]:
            notes.append(
                f'{len(without)} classes have no clip in {split}: '
                f'{name_some(map(repr, without))}'
            )
    counts = Counter(clip.label for clip in clips)
    (most, largest), *_, (least, smallest) = counts.most_common()
    if largest > IMBALANCE * smallest:
        notes.append(
            f'{most!r} has {largest} clips, but {least!r} only {smallest}: rare '
            'classes may never be predicted; add clips, or repeat rare classes '
            "(mmengine's ClassBalancedDataset)"
        )
    return notes


def show_own_videos(record: dict) -> str:
    """Format the content of ``preparation.json`` as text."""
    counts, media = record['counts'], record['media']
    rows: list[Sequence[str]] = [('class', *SPLITS, 'all')]
    for name in record['classes']:
        numbers = [counts[split][name] for split in SPLITS]
        rows.append((name, *map(str, (*numbers, sum(numbers)))))
    totals = [sum(counts[split].values()) for split in SPLITS]
    rows.append(('all classes', *map(str, (*totals, sum(totals)))))
    lines = [*format_table(rows), '']

    values: list[Sequence[str]] = [('', 'smallest', 'median', 'largest')]
    for title, key in (
        ('seconds', 'seconds'),
        ('frames', 'frames'),
        ('frames per second', 'rate'),
        ('width x height', 'size'),
    ):
        spread = [
            'x'.join(map(str, value)) if key == 'size' else f'{value:g}'
            for value in media[key].values()
        ]
        values.append((title, *(spread or ['unknown'] * 3)))
    codecs = ', '.join(f'{name} {count}' for name, count in media['codecs'].items())
    has_groups = record['groups'] < media['videos']
    groups = f' in {record["groups"]} groups' if has_groups else ''
    lines += [
        *format_table(values),
        '',
        f'{media["videos"]} videos{groups}; codecs: {codecs}; stored rotated: '
        f'{media["rotated"]}',
    ]
    if record['skipped']:
        skipped = ', '.join(f'{n} ({why})' for why, n in record['skipped'].items())
        lines.append(f'skipped files: {skipped}')
    copies = {path: f'is a copy of {kept}' for path, kept in record['copies'].items()}
    for title, entries in (('left out', record['left_out']), ('copies', copies)):
        if entries:
            lines.append(f'{title}: {len(entries)}')
            some = list(entries.items())[:NUM_EXAMPLES]
            lines += [f'    {path} {sentence}' for path, sentence in some]
    lines += [f'note: {note}' for note in record['notes']]
    return '\n'.join(line.rstrip() for line in lines)
