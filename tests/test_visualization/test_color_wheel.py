import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from selfy_mmaction.visualization.color_wheel import (
    DIRECTIONS,
    color_displacements,
    color_scale,
    draw_wheel,
)

# (u, v): rows are counted down.
UNITS = {'right': (0, 1), 'left': (0, -1), 'up': (-1, 0), 'down': (1, 0)}
# Machado et al. 2009, severity 1, on linear RGB.
BLINDNESS = {
    'none': np.eye(3),
    'protanopia': [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    'deuteranopia': [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    'tritanopia': [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def to_lab(rgb, blindness):
    """Return the CIELAB color that a color-blind person sees."""
    rgb = np.asarray(rgb)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = (linear @ np.transpose(blindness)).clip(0, 1)
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = linear @ to_xyz.T / (0.95047, 1, 1.08883)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


@pytest.mark.parametrize('direction', UNITS)
def test_color_of_a_direction(direction):
    field = np.full((2, 3, 2), UNITS[direction], np.float32) * 4
    colors = color_displacements(field, scale=4)
    np.testing.assert_allclose(
        colors[..., :3], to_rgb(DIRECTIONS[direction]) * np.ones((2, 3, 1)), atol=1e-6
    )
    assert (colors[..., 3] == 1).all()


def test_the_wheel_closes():
    # Just above and just below the direction at which the angle jumps.
    field = np.array([[(-1e-6, 1), (1e-6, 1)]])
    above, below = color_displacements(field, 1)[0]
    np.testing.assert_allclose(above, below, atol=1e-4)


def test_color_halfway_between_two_directions():
    up_left = color_displacements(np.array([[(-1.0, -1.0)]]), 1)[0, 0, :3]
    mean = np.mean([to_rgb(DIRECTIONS['up']), to_rgb(DIRECTIONS['left'])], axis=0)
    np.testing.assert_allclose(up_left, mean, atol=1e-6)


def test_scale_is_that_of_the_call_not_of_the_field():
    field = np.array([[(0.0, 2.0)]])
    half, full, more = (color_displacements(field, s)[0, 0, :3] for s in (4, 2, 1))
    np.testing.assert_allclose(
        half, (1 + np.array(to_rgb(DIRECTIONS['right']))) / 2, atol=1e-6
    )
    np.testing.assert_allclose(full, to_rgb(DIRECTIONS['right']), atol=1e-6)
    np.testing.assert_allclose(more, full, atol=1e-6)


def test_no_motion_is_white():
    np.testing.assert_array_equal(color_displacements(np.zeros((3, 4, 2)), 2), 1)


def test_nan_is_transparent_and_leaves_the_input():
    field = np.array([[(np.nan, np.nan), (0.0, 1.0)]])
    before = field.copy()
    colors = color_displacements(field, 1)
    assert colors[0, :, 3].tolist() == [0, 1]
    assert np.isfinite(colors).all()
    np.testing.assert_array_equal(field, before)


@pytest.mark.parametrize('kind', BLINDNESS)
def test_directions_differ_for_color_blind_people(kind):
    # CIELAB distances: 2.3 is just noticeable.
    corners = np.array([to_rgb(color) for color in DIRECTIONS.values()])
    eight = np.concatenate([corners, (corners + np.roll(corners, -1, 0)) / 2])
    for colors, least in ((corners, 30), (eight, 15)):
        lab = to_lab(colors, BLINDNESS[kind])
        for one, other in itertools.combinations(lab, 2):
            assert np.linalg.norm(one - other) > least


def test_scale_of_a_clip(moving_clip):
    # Displacements are up to 2 * sqrt(2) and, without a match, up to 5 cells.
    assert color_scale(moving_clip) in (3, 4, 5)


def test_legend_has_the_colors_and_names_the_directions():
    axes = Figure().subplots()
    draw_wheel(axes, 4)
    image = axes.images[0]
    colors = np.asarray(image.get_array())
    assert image.get_extent() == [-4, 4, 4, -4]
    middle, end = colors.shape[0] // 2, -1
    for place, direction in (
        ((middle, end), 'right'),
        ((middle, 0), 'left'),
        ((0, middle), 'up'),
        ((end, middle), 'down'),
    ):
        np.testing.assert_allclose(
            colors[place][:3], to_rgb(DIRECTIONS[direction]), atol=1e-6
        )
    # Each word stands where its color is. y goes down.
    words = {text.get_text().strip(' ←→↑↓'): text.get_position() for text in axes.texts}
    assert words['right'][0] > 4
    assert words['left'][0] < -4
    assert words['down'][1] > 4
    assert words['up'][1] < -4
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert axes.get_title() == 'edge: 4 cells\nor more'
