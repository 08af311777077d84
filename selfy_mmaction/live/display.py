# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""A window with the newest frame and its classes, and a line for terminals."""

import shutil
import subprocess
import sys
from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

from selfy_mmaction.inference import ClassProbability

from .session import LiveResult

_TITLE = 'selfy_mmaction live'
_LEAST_WIDTH = 480  # pixels; smaller frames are enlarged
_QUIT = (ord('q'), 27)  # q, Escape


class NoWindowError(RuntimeError):
    """Raised if OpenCV cannot open a window."""


def check_window() -> None:
    """Open a window in another process: without a screen, Qt ends its process.

    Raises:
        NoWindowError: If it cannot be opened; names the reason.

    Example:
        >>> from selfy_mmaction.live.display import NoWindowError, check_window
        >>> try:
        ...     check_window()
        ... except NoWindowError:  # no screen, or an OpenCV without windows
        ...     pass
    """
    code = 'import cv2; cv2.namedWindow("test"); cv2.waitKey(1)'
    done = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        encoding='utf-8',
        errors='replace',
    )
    if done.returncode:
        text = done.stderr
        if 'not implemented' in text:
            reason = 'this OpenCV was built without windows (headless)'
        else:
            reason = 'there is no screen, or it cannot be used'
        raise NoWindowError(
            f'--show: OpenCV cannot open a window: {reason}; leave out --show, which '
            'prints the results all the same'
        )


class LiveWindow:
    """Window with the newest frame and its classes."""

    def __init__(self) -> None:
        cv2.namedWindow(_TITLE, cv2.WINDOW_AUTOSIZE)
        self._font = ImageFont.truetype(findfont('DejaVu Sans'), 18)

    def show(
        self,
        image: np.ndarray,
        top: Sequence[ClassProbability],
        result: LiveResult,
    ) -> None:
        """Show a frame.

        Args:
            image: (H, W, 3), uint8, RGB.
            top: Classes to write on it.
            result: The result with its times.
        """
        lines = [f'{each.probability:4.0%}  {each.name}' for each in top]
        lines.append(
            f'{1000 * result.model_seconds:.0f} ms network, '
            f'{1000 * result.latency:.0f} ms in all, {result.dropped} dropped'
        )
        picture = draw_lines(image, lines, self._font)
        cv2.imshow(_TITLE, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def is_open(self) -> bool:
        """Let the window react; q, Escape and its button close it."""
        if cv2.waitKey(1) & 0xFF in _QUIT:
            return False
        return cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Close the window."""
        cv2.destroyAllWindows()


def draw_lines(
    image: np.ndarray, lines: Sequence[str], font: ImageFont.FreeTypeFont
) -> np.ndarray:
    """Write lines into the upper left corner of a frame.

    Args:
        image: (H, W, 3), uint8, RGB. It is enlarged if it is small.
        lines: The lines.
        font: The font.

    Returns:
        (H', W', 3), uint8, RGB.
    """
    factor = -(-_LEAST_WIDTH // image.shape[1])
    picture = Image.fromarray(image)
    if factor > 1:
        size = (factor * image.shape[1], factor * image.shape[0])
        picture = picture.resize(size, Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        draw.text(
            (8, 6 + 24 * number),
            line,
            font=font,
            fill='white',
            stroke_width=2,
            stroke_fill='black',
        )
    return np.asarray(picture)


def terminal_line(result: LiveResult, best: ClassProbability) -> str:
    """Format a result in one line that overwrites the last one in a terminal.

    Example:
        >>> import numpy as np
        >>> from selfy_mmaction.inference import ClassProbability
        >>> from selfy_mmaction.live.display import terminal_line
        >>> from selfy_mmaction.live.frame_queue import Frame
        >>> from selfy_mmaction.live.session import LiveResult
        >>> frame = Frame(10, 0.8, arrived=0, image=np.zeros((68, 68, 3), np.uint8))
        >>> result = LiveResult(frame, np.array([0.25, 0.75]), 0.01, 0.02, dropped=0)
        >>> terminal_line(result, ClassProbability(1, 'wave', 0.75)).split()
        ['0.8', 's', '75%', 'wave', '20', 'ms', '0', 'dropped']
    """
    line = (
        f'{result.frame.seconds:8.1f} s  {best.probability:4.0%} {best.name}  '
        f'{1000 * result.latency:.0f} ms  {result.dropped} dropped'
    )
    width = shutil.get_terminal_size().columns - 1
    return f'\r{line[:width]:{width}}'
