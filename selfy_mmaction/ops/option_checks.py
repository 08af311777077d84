# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Option checks whose errors name the option, its value and what is expected."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

# Larger sizes are mistakes that torch would report only as an out-of-memory error.
MOST = 2**16
MOST_SIDE = 1023

FLOAT32 = torch.finfo(torch.float32)


def check_int(name: str, value: int, least: int = 1, most: int = MOST) -> int:
    """Check an integer.

    Args:
        name: Name of the option.
        value: Value of the option.
        least: Smallest number allowed. Default: 1.
        most: Largest number allowed. Default: 65536.

    Returns:
        The value.

    Raises:
        ValueError: If the value is not an integer (booleans are not) or is out of
            range.

    Example:
        >>> from selfy_mmaction.ops import check_int
        >>> check_int('num_segments', 8)
        8
        >>> check_int('level', -1, least=0)
        Traceback (most recent call last):
            ...
        ValueError: level must be an integer from 0 to 65536, but got -1
    """
    if not _is_int(value) or not least <= value <= most:
        raise ValueError(
            f'{name} must be an integer from {least} to {most}, but got {value!r}'
        )
    return int(value) if isinstance(value, np.integer) else value


def check_ints(
    name: str, values: Sequence[int], least: int = 1, at_least_one: bool = True
) -> tuple[int, ...]:
    """Check a sequence of integers, such as the width of each layer.

    Args:
        name: Name of the option.
        values: Value of the option.
        least: Smallest number allowed. Default: 1.
        at_least_one: Whether to reject an empty sequence. Default: True.

    Returns:
        The values as a tuple.

    Raises:
        ValueError: If the value is not a sequence, is empty, or has a member that
            :func:`check_int` rejects.

    Example:
        >>> from selfy_mmaction.ops import check_ints
        >>> check_ints('channels', [4, 16, 64, 64])
        (4, 16, 64, 64)
        >>> check_ints('channels', [], at_least_one=False)
        ()
    """
    members = _members(values)
    if members is None or not all(
        _is_int(value) and least <= value <= MOST for value in members
    ):
        raise ValueError(
            f'{name} must be a sequence of integers from {least} to {MOST}, but got '
            f'{values!r}'
        )
    if at_least_one and not members:
        raise ValueError(f'{name} is empty; give at least one integer')
    return tuple(int(value) for value in members)


def check_positive(name: str, value: float, least: float = FLOAT32.tiny) -> float:
    """Check a positive number that float32 can hold.

    Args:
        name: Name of the option.
        value: Value of the option.
        least: Smallest number allowed. Default: 1.2e-38, the smallest normal float32.

    Returns:
        The value as a float.

    Raises:
        ValueError: If the value is not a number, is NaN, or is out of range.

    Example:
        >>> from selfy_mmaction.ops import check_positive
        >>> check_positive('sigma', 5)
        5.0
        >>> check_positive('temperature', 0)
        Traceback (most recent call last):
            ...
        ValueError: temperature must be a positive number, ..., but got 0
    """
    is_number = _is_int(value) or isinstance(value, (float, np.floating))
    if not is_number or not least <= value <= FLOAT32.max:
        raise ValueError(
            f'{name} must be a positive number, from {least:.2g} to '
            f'{FLOAT32.max:.2g}, but got {value!r}'
        )
    return float(value)


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Check an option with a fixed set of values.

    Args:
        name: Name of the option.
        value: Value of the option.
        choices: Allowed values. True and 1 are different.

    Returns:
        The value.

    Raises:
        ValueError: If the value is not one of ``choices``.

    Example:
        >>> from selfy_mmaction.ops import check_choice
        >>> check_choice('relu', 'after', ('before', 'after', 'none'))
        'after'
        >>> check_choice('relu', 'inside', ('before', 'after', 'none'))
        Traceback (most recent call last):
            ...
        ValueError: relu must be 'before', 'after' or 'none', but got 'inside'
    """
    is_plain = isinstance(value, (str, int, float, np.number))
    for choice in choices:
        is_same_kind = is_plain and isinstance(value, bool) == isinstance(choice, bool)
        if value is choice or (is_same_kind and value == choice):
            return choice
    *others, last = map(repr, choices)
    raise ValueError(f'{name} must be {", ".join(others)} or {last}, but got {value!r}')


def check_bool(name: str, value: bool) -> bool:
    """Check a boolean option.

    Args:
        name: Name of the option.
        value: Value of the option.

    Returns:
        The value.

    Raises:
        ValueError: If the value is not True or False.

    Example:
        >>> from selfy_mmaction.ops import check_bool
        >>> check_bool('with_cp', True)
        True
        >>> check_bool('with_cp', 'False')  # would count as true
        Traceback (most recent call last):
            ...
        ValueError: with_cp must be True or False, but got 'False'
    """
    return check_choice(name, value, (True, False))


def check_offsets(
    offsets: int | Sequence[int], num_segments: int | None = None
) -> tuple[int, ...]:
    """Check a set of temporal offsets.

    Args:
        offsets: Temporal offsets ``l``, in frames. A single int is allowed.
        num_segments: Frames per clip, ``T``. If given, offsets outside every clip
            trigger a warning. Default: None.

    Returns:
        The offsets as a tuple of ints, in the order given.

    Raises:
        ValueError: If ``offsets`` is empty, has a non-integer, or has duplicates.

    Example:
        >>> from selfy_mmaction.ops import check_offsets
        >>> check_offsets(range(-2, 3), num_segments=8)
        (-2, -1, 0, 1, 2)
        >>> check_offsets(1)
        (1,)
    """
    values = (offsets,) if _is_int(offsets) else _members(offsets)
    if values == ():
        raise ValueError(
            'offsets is empty; give at least one temporal offset, for example '
            'offsets=(-2, -1, 0, 1, 2)'
        )
    if values is None or not all(_is_int(v) and abs(v) <= MOST for v in values):
        raise ValueError(
            'offsets must be integers (frames, '
            f'at most {MOST}) such as (-2, -1, 0, 1, 2), but got {offsets!r}'
        )
    if len(set(values)) != len(values):
        raise ValueError(f'offsets must be unique, but got {values}')
    values = tuple(int(offset) for offset in values)
    if num_segments is not None:
        outside = [offset for offset in values if abs(offset) >= num_segments]
        if outside:
            warnings.warn(
                f'offsets {outside} reach beyond a clip of num_segments='
                f'{num_segments} frames, so their similarities are always zero. '
                f'Remove them, or use clips of more than '
                f'{max(map(abs, outside))} frames.',
                stacklevel=3,
            )
    return values


def check_window(window: int | Sequence[int]) -> tuple[int, int]:
    """Check the spatial window ``(U, V)``.

    Args:
        window: Height ``U`` and width ``V`` of the window. An int gives a square
            window.

    Returns:
        ``(U, V)`` as ints.

    Raises:
        ValueError: If ``window`` is not two positive odd integers.

    Example:
        >>> from selfy_mmaction.ops import check_window
        >>> check_window(9)
        (9, 9)
        >>> check_window((5, 8))
        Traceback (most recent call last):
            ...
        ValueError: window must be (U, V), two positive odd integers ..., but got (5, 8)
    """
    values = (window, window) if _is_int(window) else _members(window)
    if (
        values is None
        or len(values) != 2
        or not all(_is_int(v) and v % 2 == 1 and 0 < v <= MOST_SIDE for v in values)
    ):
        raise ValueError(
            'window must be (U, V), two positive odd integers up to '
            f'{MOST_SIDE} such as (9, 9), or a single one for both, but got '
            f'{window!r}'
        )
    return int(values[0]), int(values[1])


def check_num_segments(num_frames: int, num_segments: int) -> int:
    """Check that a batch of frames consists of whole clips.

    Args:
        num_frames: Size of the first dimension, ``N * T``.
        num_segments: Frames per clip, ``T``.

    Returns:
        The number of clips ``N``.

    Raises:
        ValueError: If ``num_segments`` is not a positive integer or does not divide
            ``num_frames``.

    Example:
        >>> from selfy_mmaction.ops import check_num_segments
        >>> check_num_segments(num_frames=16, num_segments=8)
        2
    """
    # Sizes are tensors during tracing. is_tracing is documented, but not in __all__.
    if not torch.jit.is_tracing():  # type: ignore[attr-defined]
        check_int('num_segments', num_segments)
    if num_frames % num_segments:
        raise ValueError(
            f'{num_frames} frames cannot be split into clips of num_segments='
            f'{num_segments}; set num_segments to the number of frames that the '
            'pipeline samples per clip (clip_len * num_clips)'
        )
    return num_frames // num_segments


def _is_int(value: Any) -> bool:
    return isinstance(value, (int, np.integer, torch.SymInt)) and not isinstance(
        value, bool
    )


def _members(values: Any) -> tuple[Any, ...] | None:
    """Return the members of an ordered sequence, or None if it is not one."""
    if isinstance(values, (Sequence, range, np.ndarray)) and not isinstance(
        values, (str, bytes)
    ):
        return tuple(values)
    return None
