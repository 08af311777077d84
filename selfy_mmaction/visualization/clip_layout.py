# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Where the parts of the moving picture are, by the shape of the frames."""

import math
from typing import NamedTuple

WIDTH = 800
"""Width of the picture in pixels."""

Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels."""

_EDGE = 8
_TITLE = 18  # a line above a panel
_TOP = 24 + _TITLE  # of the panels: below the title of the picture and their own
_GAP = 6  # between maps
_STRIP = 122  # the wheel and the legend
_BAR = 56  # the vertical color bar with its numbers
_LANDSCAPE = 1.45  # width / height from which the frame is above its colors


class Layout(NamedTuple):
    """Places in pixels, from the top left.

    Attributes:
        height: Height of the picture.
        frame: The frame with arrows.
        field: The colors of its motion.
        maps: A map per offset, row by row.
        bar: Color bar of the maps.
        vertical: Whether it is vertical.
        wheel: Legend of the colors, with its labels.
        legend: Left and top of the legend of the marks.
    """

    height: float
    frame: Box
    field: Box
    maps: list[Box]
    bar: Box
    vertical: bool
    wheel: Box
    legend: tuple[float, float]


def lay_out(frame_ratio: float, map_ratio: float, count: int) -> Layout:
    """Lay out a picture that is filled by frames of any shape.

    Landscape frames are above their colors, with the maps and the legend at the right.
    Others are next to their colors and the maps, with the legend below.

    Args:
        frame_ratio: Width of a frame divided by its height. Extreme ones leave empty
            space.
        map_ratio: Width of a map divided by its height.
        count: Number of maps.
    """
    if frame_ratio > _LANDSCAPE:
        return _lay_out_landscape(frame_ratio, map_ratio, count)
    height = min(300, 236 / frame_ratio)
    width = max(height * frame_ratio, 160)  # the titles are about that wide
    bottom = _TOP + height
    right = _EDGE + 2 * width + _GAP + 16
    maps = _place_maps((right, _TOP, WIDTH - _EDGE - right, height), map_ratio, count)
    end = max(left + w for left, _, w, _ in maps)
    return Layout(
        height=bottom + _STRIP,
        frame=(_EDGE, _TOP, width, height),
        field=(_EDGE + width + _GAP, _TOP, width, height),
        maps=maps,
        # Half of the last number is to the right of the bar.
        bar=(right, bottom + 16, min(max(end, right + 200), WIDTH - 24) - right, 10),
        vertical=False,
        wheel=(_EDGE, bottom + 32, 84, 84),
        legend=(_EDGE + 100, bottom + 14),
    )


def _lay_out_landscape(frame_ratio: float, map_ratio: float, count: int) -> Layout:
    width = min(352, 205 * frame_ratio)
    height = width / frame_ratio
    below = _TOP + height + _TITLE + 6
    total = max(below + height + _EDGE, 340)
    right = _EDGE + width + 16
    strip = total - _STRIP
    maps = _place_maps(
        (right, _TOP, WIDTH - _BAR - _EDGE - right, strip - _TOP), map_ratio, count
    )
    end = max(left + w for left, _, w, _ in maps)
    bottom = max(top + h for _, top, _, h in maps)
    top = maps[0][1]
    return Layout(
        height=total,
        frame=(_EDGE, _TOP, width, height),
        field=(_EDGE, below, width, height),
        maps=maps,
        bar=(end + 8, top, 10, bottom - top),
        vertical=True,
        wheel=(right, strip + 32, 84, 84),
        legend=(right + 100, strip + 14),
    )


def _place_maps(area: Box, ratio: float, count: int) -> list[Box]:
    """Choose the largest panels that fit in the area, with a title above each."""
    left, top, width, height = area

    def panel_width(columns: int) -> float:
        rows = math.ceil(count / columns)
        return min((width + _GAP) / columns - _GAP, ratio * (height / rows - _TITLE))

    columns = max(range(1, count + 1), key=panel_width)
    size = panel_width(columns), panel_width(columns) / ratio
    return [
        (
            left + column * (size[0] + _GAP),
            top + row * (size[1] + _TITLE) + _TITLE,
            *size,
        )
        for row, column in (divmod(index, columns) for index in range(count))
    ]
