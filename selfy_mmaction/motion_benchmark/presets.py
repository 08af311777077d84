# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Which classes and how many clips each preset of the benchmark has."""

from dataclasses import dataclass

from .patterns import AXES

SPLITS = ('train', 'val', 'val_flicker')


@dataclass(frozen=True)
class Preset:
    """Size of a generated dataset.

    Attributes:
        patterns: Patterns of motion; each gives four classes.
        train: Number of training clips, a multiple of the number of classes.
        val: Number of validation clips, a multiple of the number of classes. The
            flicker split has as many.
    """

    patterns: tuple[str, ...]
    train: int
    val: int

    @property
    def kinds(self) -> tuple[tuple[str, str], ...]:
        """``(pattern, axis)`` of the clips ``2 k`` and ``2 k + 1``, in turn."""
        return tuple((name, axis) for name in self.patterns for axis in AXES)

    def num_clips(self, split: str) -> int:
        """Number of clips of a split (``train``, ``val`` or ``val_flicker``)."""
        return self.train if split == 'train' else self.val


PRESETS = {
    'tiny': Preset(('go',), train=24, val=16),
    'small': Preset(('go', 'back', 'pback'), train=1800, val=360),
    'full': Preset(('go', 'back', 'pback'), train=7200, val=1200),
}


def get_preset(name: str) -> Preset:
    """Look a preset up by name.

    Raises:
        ValueError: If there is no such preset.
    """
    if name not in PRESETS:
        raise ValueError(f'unknown preset {name!r}; known: {", ".join(PRESETS)}')
    return PRESETS[name]


def class_names(preset: str) -> tuple[str, ...]:
    """Names of a preset's classes in label order.

    Args:
        preset: Name of a preset: ``tiny``, ``small`` or ``full``.

    Returns:
        Names such as ``back_right``: the pattern and the direction that the layer
        moves in first. The labels ``2 k`` and ``2 k + 1`` are the two signs of one
        pattern and axis.

    Raises:
        ValueError: If there is no such preset.
    """
    return tuple(
        f'{pattern}_{direction}'
        for pattern, axis in get_preset(preset).kinds
        for direction in AXES[axis]
    )


def clip_label(preset: str, index: int) -> int:
    """Label of clip ``index`` (from 0) of any split of a preset.

    The classes take turns, so every split is balanced, and the clips ``2 k`` and
    ``2 k + 1`` are partners.

    Raises:
        ValueError: If there is no such preset.
    """
    return index % len(class_names(preset))
