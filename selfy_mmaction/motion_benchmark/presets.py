# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Classes and number of clips of each preset of the benchmark."""

from dataclasses import dataclass

from .patterns import AXES

SPLITS = ('train', 'val', 'val_flicker')


@dataclass(frozen=True)
class Preset:
    """Size of a generated dataset.

    Attributes:
        patterns: Motion patterns, with four classes each.
        train: Number of training clips, a multiple of the number of classes.
        val: Number of clips in each of the two validation splits, a multiple of the
            number of classes.
    """

    patterns: tuple[str, ...]
    train: int
    val: int

    @property
    def kinds(self) -> tuple[tuple[str, str], ...]:
        """(pattern, axis) of consecutive pairs of clips, repeated cyclically."""
        return tuple((name, axis) for name in self.patterns for axis in AXES)

    def num_clips(self, split: str) -> int:
        """Return the number of clips of a split in ``SPLITS``."""
        return self.train if split == 'train' else self.val


PRESETS = {
    'tiny': Preset(('go',), train=24, val=16),
    'small': Preset(('go', 'back', 'pback'), train=1800, val=360),
    'full': Preset(('go', 'back', 'pback'), train=7200, val=1200),
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
        preset: ``'tiny'``, ``'small'`` or ``'full'``.

    Returns:
        Names such as ``'back_right'``: the pattern and the first direction of motion.
        Labels 2k and 2k + 1 are the two signs of the same pattern and axis.

    Raises:
        ValueError: If the preset does not exist.
    """
    return tuple(
        f'{pattern}_{direction}'
        for pattern, axis in get_preset(preset).kinds
        for direction in AXES[axis]
    )


def clip_label(preset: str, index: int) -> int:
    """Return the label of a clip in any split of a preset.

    Classes alternate, so every split is balanced, and clips 2k and 2k + 1 are partners.

    Args:
        preset: ``'tiny'``, ``'small'`` or ``'full'``.
        index: Index of the clip in its split, from 0.

    Raises:
        ValueError: If the preset does not exist.
    """
    return index % len(class_names(preset))
