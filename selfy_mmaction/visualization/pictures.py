# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The page and all pictures of a recorded clip, as files in a folder."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from selfy_mmaction.models import SoftArgmaxExtraction

from .animation import save_figure, write_animation
from .channel_figure import draw_channels
from .clip_animation import draw_clip
from .displacement_figure import draw_displacement
from .extraction_figure import draw_extractions, extract
from .grad_cam_figure import ExplainedModel, draw_grad_cams
from .map_figure import draw_maps
from .page import write_page
from .queries import Query
from .recorded_clip import RecordedClip

FILES = {
    'index.html': 'click a position to see its matches; opens offline',
    'similarity_maps.png': 'where positions find themselves',
    'displacement.png': 'motion by soft-argmax, and its confidence',
    'channels.png': 'channels of the extraction and integration',
    'extractions.png': 'what extractions make of one position',
    'grad_cam.png': 'what speaks for the class',
    'motion.gif': 'the clip with motion and matches',
    'motion.mp4': 'the clip with motion and matches',
}
"""Files that :func:`write_pictures` may write, and what they show."""


def write_pictures(
    folder: str | os.PathLike,
    clip: RecordedClip,
    queries: Sequence[Query],
    *,
    t: int | None = None,
    explained: Sequence[ExplainedModel] = (),
    true_class: str | None = None,
    animation: str | None = 'gif',
) -> Iterator[Path]:
    """Write the page and the pictures, each one atomically.

    Args:
        folder: Folder to write to.
        clip: The clip.
        queries: Positions (t, y, x), at least one. The page starts with the first one,
            which is also that of the extractions and of the moving picture.
        t: Frame of the displacement and the channels. Default: None, the one in the
            middle.
        explained: Networks and their Grad-CAM maps. The page shows that of the first
            one. Default: none, without this picture.
        true_class: Name of the true class. Default: None, unknown.
        animation: ``'gif'``, ``'mp4'`` or None, without a moving picture. Default:
            ``'gif'``.

    Yields:
        Each file when it is complete, one of :data:`FILES`.

    Raises:
        OSError: If a file cannot be written.
        ValueError: If a position or frame is not in the clip, or the page would be too
            large.

    Example:
        >>> import tempfile
        >>> from selfy_mmaction.checkpoints import SAMPLE_CLIP
        >>> from selfy_mmaction.inference import Predictor
        >>> from selfy_mmaction.visualization.pictures import write_pictures
        >>> from selfy_mmaction.visualization.recording import record_block
        >>> predictor = Predictor(device='cpu')
        >>> clip = predictor.pipeline.open(str(SAMPLE_CLIP)).read_clip()
        >>> recorded, _ = record_block(predictor, clip, 'sample')
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     print(next(write_pictures(folder, recorded, queries=[(3, 4, 4)])).name)
        index.html
    """
    folder = Path(folder)
    first = queries[0]
    page = folder / 'index.html'
    write_page(page, clip, query=first, cam=_cam_of(clip, explained))
    yield page
    figures = {
        'similarity_maps.png': lambda: draw_maps(clip, queries),
        'displacement.png': lambda: draw_displacement(clip, t),
        'channels.png': lambda: draw_channels(clip, t),
        'extractions.png': lambda: _draw_extractions(clip, first),
    }
    if clip.extraction is None or clip.integration is None:
        del figures['channels.png']
    for name, draw in figures.items():
        save_figure(folder / name, draw())
        yield folder / name
    if explained:
        path = folder / 'grad_cam.png'
        draw_grad_cams(path, explained, true_class=true_class, title=clip.video)
        yield path
    if animation is not None:
        path = folder / f'motion.{animation}'
        write_animation(path, draw_clip(clip, first))
        yield path


def _cam_of(
    clip: RecordedClip, explained: Sequence[ExplainedModel]
) -> np.ndarray | None:
    """Return the first network's map for each frame of the clip, (T, H, W)."""
    if not explained:
        return None
    maps = explained[0].clip.maps
    # A network may have fewer frames in its features than in its input.
    ratio = len(maps) / len(clip.frames)
    return maps[[int((index + 0.5) * ratio) for index in range(len(clip.frames))]]


def _draw_extractions(clip: RecordedClip, query: Query) -> Figure:
    t, y, x = query
    features = extract(
        clip, query, {'soft-argmax': SoftArgmaxExtraction(clip.window).eval()}
    )
    if clip.extraction is not None:
        features['extraction of the network'] = clip.extraction[t, y, x]
    title = f'{clip.video}, frame {t}, row {y} and column {x} of the grid'
    return draw_extractions(
        clip.stss[t, y, x], features, clip.offsets, clip.inside[t], title
    )
