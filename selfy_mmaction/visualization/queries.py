# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Query positions: the positions whose similarities are drawn."""

from collections.abc import Sequence
from numbers import Integral

import numpy as np

from selfy_mmaction.ops.option_checks import check_int

from .recorded_clip import RecordedClip

Query = tuple[int, int, int]
"""A position (t, y, x): frame, row and column of the matching grid."""

STILL = 1.0
"""Mean difference between frames, in gray levels of 255, below which nothing moves."""

_FAINT = 0.05  # of the strongest motion: not worth a row of maps


def check_queries(clip: RecordedClip, queries: Sequence[Query]) -> list[Query]:
    """Check positions of the matching grid.

    Raises:
        ValueError: If there is none, or one is not in the grid of the clip.
    """
    if not queries:
        raise ValueError('there is no query position; give at least one (t, y, x)')
    size = (len(clip.frames), *clip.grid)
    checked = []
    for query in queries:
        if (
            len(query) != 3
            or not all(isinstance(value, Integral) for value in query)
            or not all(0 <= v < n for v, n in zip(query, size, strict=True))
        ):
            raise ValueError(
                f'query {tuple(query)} must be (t, y, x) with t from 0 to '
                f'{size[0] - 1}, y from 0 to {size[1] - 1} and x from 0 to '
                f'{size[2] - 1}: frame, row and column of the matching grid'
            )
        t, y, x = query
        checked.append((int(t), int(y), int(x)))
    return checked


def queries_at(
    clip: RecordedClip, points: Sequence[tuple[int, float, float]]
) -> list[Query]:
    """Find the positions of the grid that contain given pixels.

    Args:
        clip: The clip.
        points: Points (t, x, y): frame of the clip, from 0, and the pixel's column and
            row in the frames that the network saw.

    Returns:
        Positions (t, y, x) in the order of the points. Points in one cell give one.

    Raises:
        ValueError: If there is no point, or one is outside the clip or its frames.

    Example:
        >>> import numpy as np
        >>> from selfy_mmaction.visualization.queries import queries_at
        >>> from selfy_mmaction.visualization.recorded_clip import RecordedClip
        >>> frames = np.zeros((8, 64, 64, 3), np.uint8)
        >>> stss = np.zeros((8, 4, 4, 3, 5, 5), np.float32)  # cells of 16x16 pixels
        >>> clip = RecordedClip('a.mp4', 'features', frames, stss, offsets=(-1, 0, 1))
        >>> queries_at(clip, [(3, 40, 10)])  # frame, column and row of a pixel
        [(3, 0, 2)]
    """
    if not points:
        raise ValueError('there is no point; give at least one (t, x, y) in pixels')
    count, height, width = clip.frames.shape[:3]
    cell_height, cell_width = clip.cell_size
    found = []
    for t, x, y in points:
        if not float(t).is_integer() or not 0 <= t < count:
            raise ValueError(
                f'point ({t:g}, {x:g}, {y:g}): there is no frame {t:g}; the clip of '
                f'{clip.video} has {count} frames, 0 to {count - 1}'
            )
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(
                f'point ({t:g}, {x:g}, {y:g}) is outside the frame; the frames that '
                f'the network saw have {width}x{height} pixels: x from 0 to '
                f'{width - 1}, y from 0 to {height - 1}'
            )
        found.append((int(t), int(y / cell_height), int(x / cell_width)))
    return list(dict.fromkeys(found))


def grid_queries(clip: RecordedClip, side: int, t: int | None = None) -> list[Query]:
    """Spread side x side positions evenly over a frame.

    Args:
        clip: The clip.
        side: Positions per row and column. More than the grid has are the whole grid.
        t: The frame. Default: None, the one in the middle.

    Raises:
        ValueError: If ``side`` is not positive or there is no such frame.

    Example:
        >>> import numpy as np
        >>> from selfy_mmaction.visualization.queries import grid_queries
        >>> from selfy_mmaction.visualization.recorded_clip import RecordedClip
        >>> frames = np.zeros((8, 64, 64, 3), np.uint8)
        >>> stss = np.zeros((8, 4, 4, 3, 5, 5), np.float32)
        >>> clip = RecordedClip('a.mp4', 'features', frames, stss, offsets=(-1, 0, 1))
        >>> grid_queries(clip, side=2, t=0)
        [(0, 1, 1), (0, 1, 3), (0, 3, 1), (0, 3, 3)]
    """
    check_int('side', side)
    if t is None:
        t = len(clip.frames) // 2
    check_int('t', t, least=0, most=len(clip.frames) - 1)
    rows, cols = (
        ((np.arange(min(side, n)) + 0.5) * n / min(side, n)).astype(int).tolist()
        for n in clip.grid
    )
    return [(t, y, x) for y in rows for x in cols]


def moving_queries(clip: RecordedClip, count: int = 4) -> tuple[list[Query], str]:
    """Find positions where something moves, not next to each other.

    They have the largest product of the change to the next and the previous frame, the
    displacement and the confidence at the smallest offsets, and the fractions of the
    offsets in the clip and of the window in the frame. The first and the last frame are
    left out, because what moves and what it uncovers change alike there, unless there
    are no others.

    Args:
        clip: The clip.
        count: Largest number of positions. Default: 4.

    Returns:
        Positions, those with the strongest motion first, and a note. If nothing moves,
        they are spread over the middle frame, and the note says so; otherwise, it is
        empty.

    Example:
        >>> from selfy_mmaction.checkpoints import SAMPLE_CLIP
        >>> from selfy_mmaction.inference import Predictor
        >>> from selfy_mmaction.visualization.queries import moving_queries
        >>> from selfy_mmaction.visualization.recording import record_block
        >>> predictor = Predictor(device='cpu')
        >>> clip = predictor.pipeline.open(str(SAMPLE_CLIP)).read_clip()
        >>> recorded, _ = record_block(predictor, clip, 'sample')
        >>> queries, note = moving_queries(recorded, count=2)
        >>> len(queries), note
        (2, '')
    """
    check_int('count', count)
    change = _frame_differences(clip)
    if change.max() < STILL:
        side = max(1, int(count**0.5))
        reason = 'it has one frame' if len(clip.frames) == 1 else 'nothing moves in it'
        return grid_queries(clip, side)[:count], (
            f'{clip.video}: {reason}, so the positions are spread over the frame'
        )
    score = change * clip.inside.mean(axis=1)[:, None, None] * _window_in_frame(clip)
    if score[1:-1].any():
        score[[0, -1]] = 0
    near = _nearest_offsets(clip)
    if near:
        length = np.linalg.norm(clip.displacement[..., near, :], axis=-1)
        # fmin leaves out what is outside the clip.
        found = np.fmin.reduce(length * clip.confidence[..., near], axis=-1)
        found = np.nan_to_num(found).clip(min=0) * score
        if found.max() > 0:
            score = found
    return _spread(score, count), ''


def follow(clip: RecordedClip, query: Query) -> list[Query]:
    """Follow a position through the clip by its best matches in the next frames.

    Without the offset 1 (before ``query``: -1), it stays where it is.

    Returns:
        One position per frame of the clip.
    """
    [(start, y, x)] = check_queries(clip, [query])
    path = {start: (y, x)}
    for step, frames in (
        (1, range(start, len(clip.frames) - 1)),
        (-1, range(start, 0, -1)),
    ):
        index = [*clip.offsets].index(step) if step in clip.offsets else None
        for t in frames:
            place = np.array(path[t])
            if index is not None:
                place = place + clip.best_match[t, place[0], place[1], index]
            # The best match may be a zero outside the frame.
            y, x = place.clip(0, np.array(clip.grid) - 1).tolist()
            path[t + step] = y, x
    return [(t, *path[t]) for t in range(len(clip.frames))]


def _frame_differences(clip: RecordedClip) -> np.ndarray:
    """Mean change per cell to the neighboring frames, in gray levels, (T, h, w)."""
    gray = clip.frames.astype(np.float32).mean(axis=-1)
    between = np.abs(np.diff(gray, axis=0))
    if not len(between):
        return np.zeros((1, *clip.grid), np.float32)
    # A moving thing differs from both; what it uncovers only from one.
    change = np.minimum(
        np.concatenate([between[:1], between]), np.concatenate([between, between[-1:]])
    )
    rows, cols = (
        np.linspace(0, size, cells, endpoint=False).astype(int)
        for size, cells in zip(change.shape[1:], clip.grid, strict=True)
    )
    sums = np.add.reduceat(np.add.reduceat(change, rows, axis=1), cols, axis=2)
    ones = np.ones_like(change[:1])
    return sums / np.add.reduceat(np.add.reduceat(ones, rows, axis=1), cols, axis=2)


def _window_in_frame(clip: RecordedClip) -> np.ndarray:
    """Fraction of the window around each position that is in the frame, (h, w)."""
    rows, cols = (
        (
            np.minimum(np.arange(n) + size // 2, n - 1)
            - np.maximum(np.arange(n) - size // 2, 0)
            + 1
        )
        / size
        for n, size in zip(clip.grid, clip.window, strict=True)
    )
    return rows[:, None] * cols


def _nearest_offsets(clip: RecordedClip) -> list[int]:
    """Indices of the smallest offsets besides 0."""
    least = min((abs(each) for each in clip.offsets if each), default=None)
    return [i for i, each in enumerate(clip.offsets) if abs(each) == least]


def _spread(score: np.ndarray, count: int) -> list[Query]:
    left = score.copy()
    radius = max(1, min(score.shape[1:]) // 5)
    chosen: list[Query] = []
    while len(chosen) < count and left.max() > _FAINT * score.max():
        t, y, x = (int(i) for i in np.unravel_index(left.argmax(), left.shape))
        chosen.append((t, y, x))
        rows, cols = (slice(max(0, i - radius), i + radius + 1) for i in (y, x))
        left[:, rows, cols] = 0
    return chosen
