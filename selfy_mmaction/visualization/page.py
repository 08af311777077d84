# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""A recorded clip as one HTML page that opens offline."""

import base64
import io
import json
import os
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import matplotlib
import numpy as np
from PIL import Image

from selfy_mmaction.atomic_files import replacing

from .recorded_clip import RecordedClip

MAX_BYTES = 12_000_000
"""Largest page. Browsers open it at once, and it fits into a mail."""

_FRAME_SIDE = 640
_CAM_SIDE = 112
# int8 and int16, symmetric.
_SIMILARITY_STEPS = 127
_DISPLACEMENT_STEPS = 32767


def write_page(
    path: str | os.PathLike,
    clip: RecordedClip,
    *,
    query: Sequence[int] | None = None,
    cam: np.ndarray | None = None,
) -> None:
    """Write a page to step through the frames and ask what a position looks like.

    The page is a single file without links: it makes no request. It holds

    - the frames as JPEG, at most 640 pixels per side;
    - the similarities as int8, in steps of their largest magnitude / 127, so 1/127 for
      a cosine similarity;
    - the displacements as int16, in steps of half the window / 32767, and the best
      matches: those of ``clip``, not computed again from rounded similarities.

    Colors run from 0 to the largest magnitude, 1 for a cosine similarity of features
    after a ReLU. They run from its negative where there are negative similarities.

    Args:
        path: The file to write, ``.html``.
        clip: The clip.
        query: Position (t, y, x) of the grid that is shown first. Default: None, the
            center of the frame in the middle.
        cam: Grad-CAM map over the frames, (T, H, W) of any H and W, 0 to 1. Default:
            None, without this choice.

    Raises:
        OSError: If the file cannot be written.
        ValueError: If ``query`` is outside the clip, ``cam`` is no such map,
            similarities are not finite, or the page would be larger than 12 MB.
    """
    query = _check_query(query, clip)
    shown_cam = None if cam is None else _shrink_cam(_check_cam(cam, clip))
    _check_size(clip)
    if not np.isfinite(clip.stss).all():
        raise ValueError(
            f'the similarities of {clip.video} must be finite, but some are NaN or '
            'infinite; look for NaN in the weights and use float32'
        )
    data = _data(clip, query)
    if shown_cam is not None:
        data['cam'] = dict(size=shown_cam.shape[1:], values=_encode(shown_cam))
    # Neither </script> nor <!-- may appear in a script.
    text = json.dumps(data, allow_nan=False).replace('<', '\\u003c')
    template = files(__package__).joinpath('page_template.html')
    page = template.read_text('utf-8').replace('{{data}}', text).encode()
    if len(page) > MAX_BYTES:
        raise _too_large(clip, len(page))
    with replacing(path) as partial:
        partial.write_bytes(page)


def _data(clip: RecordedClip, query: tuple[int, int, int]) -> dict[str, Any]:
    """Return what the page's script reads; arrays only of frames inside the clip."""
    inside = clip.inside
    peak = float(np.abs(clip.stss).max()) or 1.0
    step = peak / _SIMILARITY_STEPS
    reach = max(1, *(side // 2 for side in clip.window))
    displacement_step = reach / _DISPLACEMENT_STEPS
    rows, cols = clip.window
    best = (clip.best_match + (rows // 2, cols // 2)) @ (cols, 1)
    return dict(
        video=clip.video,
        source=clip.source,
        size=clip.frames.shape[1:3],
        frames=[_data_url(frame) for frame in clip.frames],
        seconds=None if clip.seconds is None else [float(s) for s in clip.seconds],
        offsets=[int(offset) for offset in clip.offsets],
        inside=inside.tolist(),
        grid=clip.grid,
        window=clip.window,
        temperature=clip.temperature,
        range=[-peak if clip.stss.min() < 0 else 0.0, peak],
        step=step,
        similarity=_encode(np.rint(_by_pair(clip.stss, inside) / step).astype('i1')),
        displacementStep=displacement_step,
        displacement=_encode(
            np.rint(_by_pair(clip.displacement, inside) / displacement_step).astype(
                '<i2'
            )
        ),
        bestMatch=_encode(_by_pair(best, inside).astype('<u2')),
        fade=_fade(clip),
        classes=[(each.name, float(each.probability)) for each in clip.classes],
        colors=_encode(_color_table('viridis')),
        camColors=_encode(_color_table('cividis')),
        query=query,
    )


def _by_pair(array: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Select pairs of frame and offset: (T, h, w, L, ...) to (pairs, h, w, ...)."""
    return np.moveaxis(array, 3, 1)[inside]


def _fade(clip: RecordedClip) -> list[float]:
    """Return the confidences between which arrows fade.

    They are the 5th and 95th percentile, since similarities of features after a ReLU
    are rarely near 0. A frame's similarity with itself is always 1.
    """
    others = clip.inside & (np.asarray(clip.offsets) != 0)
    values = _by_pair(clip.confidence, others)
    return np.quantile(values, (0.05, 0.95)).tolist() if values.size else [0.0, 1.0]


def _color_table(name: str) -> np.ndarray:
    """Return 256 colors, (256, 3), uint8."""
    return matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]


def _data_url(frame: np.ndarray) -> str:
    image = Image.fromarray(frame)
    image.thumbnail((_FRAME_SIDE, _FRAME_SIDE))  # never enlarges
    file = io.BytesIO()
    image.save(file, 'JPEG', quality=88, optimize=True)
    return f'data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}'


def _encode(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array)).decode()


def _shrink_cam(cam: np.ndarray) -> np.ndarray:
    """Return the map as uint8; it is smooth, so few pixels suffice."""
    shrunk = []
    for each in cam:
        image = Image.fromarray(np.rint(each * 255).astype('u1'))
        image.thumbnail((_CAM_SIDE, _CAM_SIDE))
        shrunk.append(np.asarray(image))
    return np.stack(shrunk)


def _check_query(
    query: Sequence[int] | None, clip: RecordedClip
) -> tuple[int, int, int]:
    shape = (len(clip.frames), *clip.grid)
    if query is None:
        query = [size // 2 for size in shape]
    if len(query) != 3 or not all(
        position in range(size) for position, size in zip(query, shape, strict=True)
    ):
        raise ValueError(
            f'query must be (t, y, x), each from 0 and below {shape}, not '
            f'{tuple(query)}; give a position in the clip'
        )
    t, y, x = query
    return int(t), int(y), int(x)


def _check_cam(cam: np.ndarray, clip: RecordedClip) -> np.ndarray:
    if cam.ndim != 3 or len(cam) != len(clip.frames) or 0 in cam.shape:
        raise ValueError(
            f'cam must be (T, H, W) with T = {len(clip.frames)} frames, not '
            f'{cam.shape}; compute it for the frames of this clip'
        )
    if not (cam.min() >= 0 and cam.max() <= 1):  # also false for NaN
        raise ValueError(
            f'cam must be from 0 to 1, not from {cam.min()} to {cam.max()}; divide it '
            'by its maximum'
        )
    return cam


def _check_size(clip: RecordedClip) -> None:
    """Fail before the work; the frames come on top."""
    rows, cols = clip.grid
    per_position = clip.window[0] * clip.window[1] + 3 * 2
    arrays = int(clip.inside.sum()) * rows * cols * per_position
    if arrays * 4 / 3 > MAX_BYTES:
        raise _too_large(clip, arrays * 4 / 3)


def _too_large(clip: RecordedClip, size: float) -> ValueError:
    rows, cols = clip.grid
    return ValueError(
        f'the page of {clip.video} would have {size / 1e6:.1f} MB, but at most '
        f'{MAX_BYTES / 1e6:g} MB open well; {len(clip.frames)} frames, a grid of '
        f'{rows}x{cols}, {len(clip.offsets)} offsets and a window of '
        f'{clip.window[0]}x{clip.window[1]} are too many: use fewer frames, a smaller '
        'grid (smaller input), fewer offsets or a smaller window'
    )
