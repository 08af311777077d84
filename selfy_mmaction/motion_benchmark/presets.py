# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Classes, splits and number of clips of each preset of the benchmark."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from .pairs.patterns import AXES
from .pairs.rendering import SPLITS as PAIR_SPLITS
from .pairs.rendering import render_pair
from .stories.rendering import SPLITS as STORY_SPLITS
from .stories.rendering import render_group
from .stories.stories import STORIES


@dataclass(frozen=True)
class Partners:
    """Clips that consist of the same frames in different orders.

    Attributes:
        classes: Class name of each clip.
        render: Renders the clips, (24, 68, 68, 3), RGB, uint8, of a seed, a split and
            the index of the partners in it.
    """

    classes: tuple[str, ...]
    render: Callable[[int, str, int], Sequence[np.ndarray]]


@dataclass(frozen=True)
class Preset:
    """A generated dataset.

    Attributes:
        version: Version of its generator, increased whenever the files change.
        kinds: Kinds of consecutive groups of partners, repeated cyclically.
        splits: Number of clips of each split, a multiple of the number of classes.
    """

    version: int
    kinds: tuple[Partners, ...]
    splits: Mapping[str, int]

    @property
    def num_partners(self) -> int:
        """Number of clips with the same frames."""
        return len(self.kinds[0].classes)

    def num_clips(self, split: str) -> int:
        """Return the number of clips of a split."""
        return self.splits[split]

    def render(self, split: str, group: int, seed: int) -> Sequence[np.ndarray]:
        """Render the clips of a group of partners."""
        return self.kinds[group % len(self.kinds)].render(seed, split, group)


def _pairs(patterns: tuple[str, ...], train: int, val: int) -> Preset:
    kinds = []
    for pattern in patterns:
        for axis, directions in AXES.items():
            classes = tuple(f'{pattern}_{direction}' for direction in directions)
            render = partial(render_pair, pattern=pattern, axis=axis)
            kinds.append(Partners(classes, render))
    splits = dict.fromkeys(PAIR_SPLITS, val) | {'train': train}
    return Preset(1, tuple(kinds), splits)


def _stories(names: tuple[str, ...], train: int, val: int, other: int) -> Preset:
    kinds = tuple(
        Partners(STORIES[name].classes, partial(render_group, name)) for name in names
    )
    splits = dict.fromkeys(STORY_SPLITS, other) | {'train': train, 'val': val}
    return Preset(4, kinds, splits)


_PATTERNS = ('go', 'back', 'pback')
_SMALL_STORIES = ('slide_x', 'hide')
_MEDIUM_STORIES = ('slide_x', 'turn', 'zoom', 'pass', 'camera', 'hide')

PRESETS = {
    'tiny': _pairs(('go',), train=24, val=16),
    'go': _pairs(('go',), train=480, val=200),
    'small': _pairs(_PATTERNS, train=1800, val=360),
    'full': _pairs(_PATTERNS, train=7200, val=1200),
    'stories-tiny': _stories(('slide_x',), train=16, val=8, other=8),
    'stories-small': _stories(_SMALL_STORIES, train=1800, val=480, other=240),
    'stories-medium': _stories(_MEDIUM_STORIES, train=7200, val=960, other=480),
    'stories-large': _stories(tuple(STORIES), train=19200, val=1920, other=960),
}


def get_preset(name: str) -> Preset:
    """Look up a preset by name.

    Raises:
        ValueError: If the preset does not exist.
    """
    if name not in PRESETS:
        raise ValueError(f'unknown preset {name!r}; known: {", ".join(PRESETS)}')
    return PRESETS[name]


def class_names(preset: str) -> tuple[str, ...]:
    """Return the class names of a preset in label order.

    Args:
        preset: Name of a preset, such as ``'small'``.

    Returns:
        Names such as ``'back_right'``. Consecutive labels are the orders of the same
        frames.

    Raises:
        ValueError: If the preset does not exist.

    Example:
        >>> from selfy_mmaction.motion_benchmark import class_names
        >>> class_names('tiny')
        ('go_right', 'go_left', 'go_down', 'go_up')
        >>> len(class_names('small'))
        12
    """
    return tuple(name for kind in get_preset(preset).kinds for name in kind.classes)


def clip_label(preset: str, index: int) -> int:
    """Return the label of a clip in any split of a preset.

    Classes alternate, so every split is balanced, and partners are consecutive clips.

    Args:
        preset: Name of a preset, such as ``'small'``.
        index: Index of the clip in its split, from 0.

    Raises:
        ValueError: If the preset does not exist.

    Example:
        >>> from selfy_mmaction.motion_benchmark import class_names, clip_label
        >>> [clip_label('tiny', index) for index in range(6)]
        [0, 1, 2, 3, 0, 1]
        >>> class_names('tiny')[clip_label('tiny', 5)]
        'go_left'
    """
    return index % len(class_names(preset))


def render_clip(preset: str, split: str, index: int, seed: int = 0) -> np.ndarray:
    """Render one clip without encoding it, for figures and checks.

    Args:
        preset: Name of a preset, such as ``'small'``.
        split: Split of the preset, such as ``'val'``.
        index: Index of the clip in its split, from 0. Its label is
            ``clip_label(preset, index)``.
        seed: Seed of the dataset. Default: 0.

    Returns:
        Frames, (24, 68, 68, 3), RGB, uint8.

    Raises:
        ValueError: If the preset or the split does not exist.
        IndexError: If the clip does not exist.

    Example:
        >>> import numpy as np
        >>> from selfy_mmaction.motion_benchmark import render_clip
        >>> right, left = (render_clip('tiny', 'val', index) for index in (0, 1))
        >>> right.shape
        (24, 68, 68, 3)
        >>> np.array_equal(right[::-1], left)  # the same frames in another order
        True
    """
    chosen = get_preset(preset)
    if split not in chosen.splits:
        raise ValueError(f'unknown split {split!r}; known: {", ".join(chosen.splits)}')
    if not 0 <= index < chosen.num_clips(split):
        raise IndexError(
            f'clip {index} does not exist; split {split!r} of preset {preset!r} has '
            f'{chosen.num_clips(split)} clips'
        )
    group, member = divmod(index, chosen.num_partners)
    return chosen.render(split, group, seed)[member]
