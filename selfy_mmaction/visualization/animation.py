# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Pictures and moving pictures as files: PNG, GIF and MP4."""

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from selfy_mmaction.atomic_files import replacing
from selfy_mmaction.ops.option_checks import check_choice, check_positive

DPI = 130
"""Pixels per inch of a picture."""

MOVING = ('.gif', '.mp4')
"""Formats of moving pictures."""

_CODEC = 'libx264'


def save_figure(path: str | os.PathLike, figure: Figure, dpi: float = DPI) -> None:
    """Write a figure as PNG. Folders are created.

    Args:
        path: A file that ends in ``.png``.
        figure: The figure.
        dpi: Pixels per inch. Default: 130.

    Raises:
        ValueError: If the file has another extension.
        OSError: If it cannot be written.
    """
    if Path(path).suffix.lower() != '.png':
        raise ValueError(f'{path}: pictures are written as PNG; name it .png')
    with replacing(path) as partial:
        figure.savefig(partial, dpi=dpi, format='png')


def render(figure: Figure, dpi: float = 100) -> np.ndarray:
    """Draw a figure into an RGB image, (H, W, 3), uint8."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def check_moving(path: str | os.PathLike) -> None:
    """Check that a moving picture can be written, before any long work.

    Raises:
        ValueError: If the file is not a GIF or MP4.
        ImportError: If it is an MP4 and PyAV is not installed, or cannot write H.264.

    Example:
        >>> from selfy_mmaction.visualization.animation import check_moving
        >>> check_moving('motion.gif')
        >>> check_moving('motion.avi')
        Traceback (most recent call last):
            ...
        ValueError: extension of the moving picture must be '.gif' or '.mp4', ...
    """
    suffix = check_choice(
        'extension of the moving picture', Path(path).suffix.lower(), MOVING
    )
    if suffix == '.mp4':
        try:
            import av
        except ImportError:
            raise ImportError(
                f'{path}: PyAV writes MP4 and is not installed; pip install av, or '
                'write a GIF'
            ) from None
        if _CODEC not in av.codecs_available:
            raise ImportError(
                f'{path}: PyAV {av.__version__} was built without {_CODEC}; pip '
                'install --force-reinstall av, or write a GIF'
            )


def write_animation(
    path: str | os.PathLike,
    pictures: Iterable[np.ndarray | Figure],
    seconds: float = 0.5,
) -> None:
    """Write a moving picture. A GIF repeats forever. Folders are created.

    Args:
        path: A file that ends in ``.gif`` (by Pillow) or ``.mp4`` (by PyAV, H.264).
        pictures: RGB images, (H, W, 3), uint8, of one size, or figures.
        seconds: Seconds per picture. Default: 0.5.

    Raises:
        ValueError: If there is no picture, the sizes differ, or an argument is wrong.
        ImportError: If PyAV is needed and missing.
        OSError: If the file cannot be written.
    """
    check_moving(path)
    check_positive('seconds', seconds, least=0.02)
    images = [_image(picture) for picture in pictures]
    if not images:
        raise ValueError(f'{path}: there is no picture to write')
    sizes = sorted({image.shape[1::-1] for image in images})
    if len(sizes) > 1:
        raise ValueError(f'{path}: the pictures have different sizes: {sizes}')
    with replacing(path) as partial:
        if Path(path).suffix.lower() == '.gif':
            _write_gif(partial, images, seconds)
        else:
            _write_mp4(partial, images, seconds)


def _image(picture: np.ndarray | Figure) -> np.ndarray:
    if isinstance(picture, Figure):
        return render(picture)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(
            f'a picture must be RGB, (H, W, 3), uint8, but got {picture.shape}, '
            f'{picture.dtype}'
        )
    return picture


def _write_gif(path: Path, images: list[np.ndarray], seconds: float) -> None:
    # A palette per frame, by octree: unlike the median cut, it has the colors of marks
    # and legends, which are small. Dithering would make the file larger.
    first, *others = (
        Image.fromarray(image).quantize(
            256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
        )
        for image in images
    )
    first.save(
        path,
        format='GIF',
        save_all=True,
        append_images=others,
        duration=round(1000 * seconds),
        loop=0,
        optimize=False,
    )


def _write_mp4(path: Path, images: list[np.ndarray], seconds: float) -> None:
    import av

    height, width = images[0].shape[:2]
    even = ((0, height % 2), (0, width % 2), (0, 0))  # required by yuv420p
    rate = Fraction(1000, round(1000 * seconds))
    with av.open(
        str(path), 'w', format='mp4', options={'movflags': 'faststart'}
    ) as out:
        stream = out.add_stream(_CODEC, rate=rate, options={'crf': '18'})
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = 'yuv420p'
        for image in images:
            frame = av.VideoFrame.from_ndarray(np.pad(image, even, 'edge'), 'rgb24')
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
