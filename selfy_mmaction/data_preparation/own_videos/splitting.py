# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Groups of clips, and their split into train, val and test."""

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .clips import SPLITS, Clip, name_some

PARENT = 'parent'
MOST_OFF = 0.1  # fraction of the clips


def group_clips(clips: Sequence[Clip], group_by: str | None) -> list[Clip]:
    """Give each clip the group that its name tells.

    Args:
        clips: Clips.
        group_by: ``'parent'`` for the first folder below the folder of the class; or a
            regular expression whose groups in parentheses are the name of the group. It
            is searched in the name of the file or, if it contains a ``/``, in the path.
            None keeps the groups.

    Raises:
        ValueError: If the clips have groups already, the expression is not valid, has
            no parentheses or does not match, or there is no folder below the class.
    """
    if group_by is None:
        return list(clips)
    if any(clip.group for clip in clips):
        raise ValueError(
            f'--group-by {group_by}: the list has a column group; omit the option, or '
            'delete the column'
        )
    if group_by == PARENT:
        names = [clip.below.rpartition('/')[0].split('/')[0] for clip in clips]
        what = 'are in no folder below the folder of a class'
    else:
        pattern = _compile(group_by)
        texts = [
            clip.path if '/' in group_by else os.path.basename(clip.path)
            for clip in clips
        ]
        names = [_find_group(pattern, text) for text in texts]
        what = 'do not match, or match with empty parentheses'
    without = [clip.path for clip, name in zip(clips, names, strict=True) if not name]
    if without:
        raise ValueError(
            f'--group-by {group_by}: {len(without)} of {len(clips)} videos {what} '
            f'({name_some(without)}); change the option or the names, or use a list '
            'with a column group'
        )
    return [replace(clip, group=name) for clip, name in zip(clips, names, strict=True)]


def _compile(group_by: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise ValueError(
            f'--group-by {group_by}: not a regular expression ({error})'
        ) from None
    if not pattern.groups:
        raise ValueError(
            f'--group-by {group_by}: expected parentheses around the part of the name '
            "that the clips of one source video share, such as '(.+)_clip'; or "
            f'{PARENT!r}'
        )
    return pattern


def _find_group(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return '/'.join(filter(None, found.groups())) if found else ''


def note_split(clips: Sequence[Clip], fractions: Mapping[str, float]) -> list[str]:
    """Return notes about a chosen split that may not be as the user wants it."""
    notes = []
    counts = Counter(clip.split for clip in clips)
    for split, fraction in fractions.items():
        share = counts[split] / len(clips)
        if abs(share - fraction) > MOST_OFF:
            notes.append(
                f'{split} has {share:.0%} of the clips instead of {fraction:.0%}: the '
                'groups are large, or the classes small'
            )
    stems = defaultdict(list)
    for clip in clips:
        stem = re.sub('[0-9]+$', '', os.path.splitext(clip.path)[0])
        stems[stem].append(clip.path)
    shared = [paths for paths in stems.values() if len(paths) > 1]
    labels = {clip.label for clip in clips}
    if not any(clip.group for clip in clips) and len(shared) > len(labels):
        notes.append(
            'many names differ only in their last number, such as '
            f'{name_some(shared[0][:2])}; if these are of one source video, use '
            "--group-by (such as '(.+)_' for all before the last _), or the accuracy "
            'will be too high'
        )
    return notes


def split_clips(
    clips: Sequence[Clip], fractions: Mapping[str, float], seed: int
) -> list[Clip]:
    """Choose the split of each clip, or check the splits that the clips have.

    Groups are taken in the order of a hash of their name and the seed, while this
    brings the classes nearer to their fractions. The result is the same on any system,
    and few clips change their split when others are added. Each class is in train and
    val, and also in test if it has three groups.

    Args:
        clips: Clips, either all with a split or none.
        fractions: Fractions of ``'val'`` and ``'test'``. If the clips have splits, only
            a missing val is taken from train.
        seed: Seed.

    Returns:
        The clips with their splits, in the same order.

    Raises:
        ValueError: If a class has too few groups, a class of val or test is not in
            train, or a group is in two splits.
    """
    if any(clip.split for clip in clips):
        _check_splits(clips)
        if any(clip.split == 'val' for clip in clips):
            return list(clips)
        fractions = {'val': fractions['val']}
    free = [clip for clip in clips if clip.split != 'test']
    chosen = _choose(free, fractions, seed)
    return [
        clip
        if clip.split == 'test'
        else replace(clip, split=chosen.get(clip.group_key, 'train'))
        for clip in clips
    ]


def _check_splits(clips: Sequence[Clip]) -> None:
    labels = defaultdict(set)
    first: dict[str, Clip] = {}
    for clip in clips:
        labels[clip.split].add(clip.label)
        other = first.setdefault(clip.group_key, clip)
        if other.split != clip.split:
            raise ValueError(
                f'clips of the group {clip.group!r} are in {other.split} '
                f'({other.path}) and in {clip.split} ({clip.path}), so the accuracy '
                'would be too high; move them to one split'
            )
    for split in SPLITS[1:]:
        unknown = sorted(labels[split] - labels['train'])
        if unknown:
            raise ValueError(
                f'{name_some(map(repr, unknown))} in {split} has no clip in train; '
                'correct the name, or put clips into train'
            )


def _choose(
    clips: Sequence[Clip], fractions: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Return the split of each group that does not stay in train."""
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for clip in clips:
        groups[clip.group_key][clip.label] += 1
    sizes = Counter(clip.label for clip in clips)
    left = Counter(label for counts in groups.values() for label in counts)
    few = sorted(label for label in sizes if left[label] < 2)
    if few:
        label = few[0]
        one = 'clips, all of one group' if sizes[label] > 1 else 'clip'
        raise ValueError(
            f'{len(few)} of {len(sizes)} classes cannot be in both train and val: '
            f'{label!r} has {sizes[label]} {one}; add clips of another source, make '
            'finer groups, or leave the class out'
        )
    order = sorted(groups, key=lambda group: _rank(group, seed))
    chosen: dict[str, str] = {}
    present: dict[str, set[str]] = {split: set() for split in fractions}

    def take(group: str, split: str) -> bool:
        """Move a group out of train, unless it is the last one of a class there."""
        if any(left[label] < 2 for label in groups[group]):
            return False
        left.subtract(groups[group].keys())
        chosen[group] = split
        present[split].update(groups[group])
        return True

    for split, fraction in fractions.items():
        if not fraction:
            continue
        wanted = Counter({k: max(1, round(fraction * n)) for k, n in sizes.items()})
        for group in order:
            counts = groups[group]
            gain = sum(
                abs(wanted[label]) - abs(wanted[label] - counts[label])
                for label in counts
            )
            if group not in chosen and gain > 0 and take(group, split):
                wanted.subtract(counts)
        # Large groups may leave a class without a clip: take the smallest then.
        for label in sorted(sizes):
            if label in present[split]:
                continue
            rest = [g for g in order if g not in chosen and label in groups[g]]
            for group in sorted(rest, key=lambda group: groups[group].total()):
                if take(group, split):
                    break
            else:
                if split == 'val':
                    raise ValueError(
                        f'the class {label!r} cannot be in both train and val, because '
                        'its groups are the only ones of other classes; add clips of '
                        'other sources, or make finer groups'
                    )
    return chosen


def _rank(group: str, seed: int) -> bytes:
    return hashlib.sha256(f'{seed} {group}'.encode()).digest()


def count_classes(
    clips: Iterable[Clip], names: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Count the clips of each class per split."""
    counts = Counter((clip.split, clip.label) for clip in clips)
    return {split: {name: counts[split, name] for name in names} for split in SPLITS}
