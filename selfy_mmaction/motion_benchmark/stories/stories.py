# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What happens in each story, and the names of its four classes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .orders import Telling, behind_curtain, through

Pose = tuple[float, float, float, float]
"""x and y in pixels, angle in radians and logarithm of the scale."""

_DIRECTIONS = np.array([(1, 0), (-1, 0), (0, 1), (0, -1)])


@dataclass(frozen=True)
class Item:
    """Something that moves.

    Attributes:
        path: Its pose in each frame of the first order, (24, 4): x, y, angle, log
            scale. A layer moves relative to the center of the frame; a sprite's x and y
            are those of its center.
        sizes: Smallest and largest side of its shapes in pixels.
        layer: Whether it is a layer of shapes that fills the frame, instead of one
            shape.
        ring: Whether the shape is a ring.
    """

    path: np.ndarray
    sizes: tuple[int, int] = (14, 24)
    layer: bool = True
    ring: bool = False


@dataclass(frozen=True)
class Script:
    """What a story draws.

    Attributes:
        camera: Position of the background in each frame of the first order, (24, 2).
        items: Moving items, the front one last.
    """

    camera: np.ndarray
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Story:
    """A story with four classes.

    Attributes:
        classes: Names of the four orders.
        write: Draws the sizes and directions of a clip and returns its script.
        tell: Returns phases and orders.
    """

    classes: tuple[str, str, str, str]
    write: Callable[[np.random.Generator, np.ndarray], Script]
    tell: Callable[[], Telling] = through


def _still(phases: np.ndarray) -> np.ndarray:
    return np.zeros((len(phases), 2))


def _move(
    phases: np.ndarray,
    direction: np.ndarray | tuple[float, float] = (0, 0),
    angle: float = 0,
    log_scale: float = 0,
) -> np.ndarray:
    """Return poses that are proportional to the phase."""
    return phases[:, None] * np.array([*direction, angle, log_scale], float)


def _any_direction(rng: np.random.Generator) -> np.ndarray:
    return _DIRECTIONS[rng.integers(4)]


def _distance(rng: np.random.Generator) -> float:
    return rng.uniform(15, 24)


def _angle(rng: np.random.Generator) -> float:
    return rng.uniform(0.6, 0.95)


def _slide(axis: int) -> Callable[[np.random.Generator, np.ndarray], Script]:
    def write(rng: np.random.Generator, phases: np.ndarray) -> Script:
        direction = np.eye(2)[axis] * _distance(rng)
        return Script(_still(phases), (Item(_move(phases, direction)),))

    return write


def _turn(rng: np.random.Generator, phases: np.ndarray) -> Script:
    return Script(_still(phases), (Item(_move(phases, angle=_angle(rng))),))


def _zoom(rng: np.random.Generator, phases: np.ndarray) -> Script:
    path = _move(phases, log_scale=rng.uniform(0.35, 0.5))
    path[:, 3] += rng.uniform(-0.15, 0.15)
    return Script(_still(phases), (Item(path),))


def _speed(rng: np.random.Generator, phases: np.ndarray) -> Script:
    distance = 2 * _distance(rng)
    path = ((phases + 1) / 2) ** 2
    return Script(_still(phases), (Item(_move(path, distance * _any_direction(rng))),))


def _hide(rng: np.random.Generator, phases: np.ndarray) -> Script:
    direction = (rng.uniform(5, 8), 0)
    return Script(_still(phases), (Item(_move(phases, direction)),))


def _pass(rng: np.random.Generator, phases: np.ndarray) -> Script:
    large = Item(_move(phases, (_distance(rng), 0)), sizes=(20, 26))
    small = Item(_move(phases, (-_distance(rng), 0)), sizes=(8, 12))
    return Script(_still(phases), (large, small))


def _camera(rng: np.random.Generator, phases: np.ndarray) -> Script:
    camera = np.minimum(phases, 0)[:, None] * _any_direction(rng) * _distance(rng)
    layer = np.maximum(phases, 0)[:, None] * _any_direction(rng) * _distance(rng)
    path = np.zeros((len(phases), 4))
    path[:, :2] = camera + layer
    return Script(camera, (Item(path),))


def _turn_and_slide(rng: np.random.Generator, phases: np.ndarray) -> Script:
    sign = rng.choice([-1, 1])
    path = _move(np.minimum(phases, 0), angle=sign * _angle(rng))
    path += _move(np.maximum(phases, 0), _any_direction(rng) * _distance(rng))
    return Script(_still(phases), (Item(path),))


def _sprite(path: np.ndarray, size: int, ring: bool = False) -> Item:
    poses = np.zeros((len(path), 4))
    poses[:, :2] = path
    return Item(poses, (size, size), layer=False, ring=ring)


def _place(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-6, 6, 2)


def _approach(rng: np.random.Generator, phases: np.ndarray) -> Script:
    direction = _any_direction(rng)
    along = (1 - phases[:, None]) * rng.uniform(12, 15) * direction + 3 * direction
    # Passing a little beside each other, both stay visible.
    aside = rng.uniform(-5, 5) * direction[::-1]
    place = _place(rng)
    return Script(
        _still(phases),
        (
            _sprite(place + along + aside, int(rng.integers(18, 24))),
            _sprite(place - along - aside, int(rng.integers(18, 24))),
        ),
    )


def _follow(rng: np.random.Generator, phases: np.ndarray) -> Script:
    direction = _any_direction(rng)
    path = phases[:, None] * direction * rng.uniform(15, 19) + _place(rng)
    gap = rng.uniform(10, 12) * direction
    return Script(_still(phases), (_sprite(path + gap, 24), _sprite(path - gap, 14)))


def _target(rng: np.random.Generator, phases: np.ndarray) -> Script:
    direction = _any_direction(rng)
    half = rng.uniform(15, 19)
    place = _place(rng)
    path = phases[:, None] * half * direction + place
    target = np.tile(half * direction + place, (len(phases), 1))
    return Script(
        _still(phases),
        (_sprite(target, 28, ring=True), _sprite(path, int(rng.integers(16, 22)))),
    )


STORIES = {
    'slide_x': Story(('right', 'left', 'right_and_back', 'left_and_back'), _slide(0)),
    'slide_y': Story(('down', 'up', 'down_and_back', 'up_and_back'), _slide(1)),
    'turn': Story(
        ('clockwise', 'counter', 'clockwise_and_back', 'counter_and_back'), _turn
    ),
    'zoom': Story(('grow', 'shrink', 'grow_and_back', 'shrink_and_back'), _zoom),
    'speed': Story(('speed_up', 'slow_down', 'far_then_near', 'near_then_far'), _speed),
    'hide': Story(
        ('hidden_right', 'hidden_left', 'hidden_right_left', 'hidden_left_right'),
        _hide,
        behind_curtain,
    ),
    'pass': Story(
        ('large_right', 'small_right', 'large_right_and_back', 'small_right_and_back'),
        _pass,
    ),
    'camera': Story(
        (
            'camera_then_layer',
            'layer_then_camera',
            'layer_back_then_camera_back',
            'camera_back_then_layer_back',
        ),
        _camera,
    ),
    'turn_and_slide': Story(
        (
            'turn_then_slide',
            'slide_then_turn',
            'slide_back_then_turn_back',
            'turn_back_then_slide_back',
        ),
        _turn_and_slide,
    ),
    'approach': Story(
        ('approach', 'separate', 'approach_and_back', 'separate_and_back'), _approach
    ),
    'follow': Story(
        ('large_leads', 'small_leads', 'large_leads_back', 'small_leads_back'),
        _follow,
    ),
    'target': Story(('put', 'take', 'pretend_put', 'pretend_take'), _target),
}
"""Stories by name."""
