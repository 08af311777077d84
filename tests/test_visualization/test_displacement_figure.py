import dataclasses

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.quiver import Quiver

from selfy_mmaction.ops import self_similarity
from selfy_mmaction.visualization.animation import render
from selfy_mmaction.visualization.color_wheel import DIRECTIONS
from selfy_mmaction.visualization.displacement_figure import (
    confidence_scale,
    draw_displacement,
)

# (u, v) per frame: rows are counted down.
MOTIONS = {'right': (0, 1), 'left': (0, -1), 'up': (-1, 0), 'down': (1, 0)}


def panels(figure, count):
    """Return the axes of arrows, colors and confidence, (3, L)."""
    return np.array(figure.axes[: 3 * count], dtype=object).reshape(3, count)


def arrows(axes):
    [quiver] = [each for each in axes.collections if isinstance(each, Quiver)]
    return quiver


def moved(clip, motion):
    """Return a clip whose features move by (u, v) cells per frame."""
    canvas = torch.randn(16, 8, 12, generator=torch.Generator().manual_seed(0))
    u, v = motion
    features = torch.stack([canvas.roll((u * t, v * t), (1, 2)) for t in range(6)])
    stss = self_similarity(features, (-1, 0, 1), (9, 7), num_segments=6)[0]
    return dataclasses.replace(clip, stss=stss.numpy(), offsets=(-1, 0, 1))


@pytest.mark.parametrize('direction', MOTIONS)
def test_known_motion_gives_its_arrows_and_colors(moving_clip, direction):
    u, v = MOTIONS[direction]
    clip = moved(moving_clip, (u, v))
    axes = panels(draw_displacement(clip, 2), 2)
    quiver = arrows(axes[0, 1])
    inner = np.zeros((8, 12), bool)
    inner[1:-1, 1:-1] = True
    # Pixels, y down as in images: the axes are inverted, and the angles are theirs.
    np.testing.assert_allclose(quiver.U.reshape(8, 12)[inner], 8 * v, atol=0.05)
    np.testing.assert_allclose(quiver.V.reshape(8, 12)[inner], 8 * u, atol=0.05)
    assert (quiver.angles, quiver.scale_units, quiver.scale) == ('xy', 'xy', 1)
    assert axes[0, 1].get_ylim() == (64, 0)
    # The 95th percentile of 1 cell, and of more cells at two borders, may be above 1.
    colors = np.asarray(axes[1, 1].images[0].get_array())[inner]
    shade = (1 - colors[:, :3]).max(axis=1)
    expected = 1 - np.array(to_rgb(DIRECTIONS[direction]))
    np.testing.assert_allclose(
        (1 - colors[:, :3]) / shade[:, None],
        np.broadcast_to(expected / expected.max(), (60, 3)),
        atol=0.02,
    )
    # The frame before shows the opposite.
    before = arrows(axes[0, 0])
    np.testing.assert_allclose(before.U.reshape(8, 12)[inner], -8 * v, atol=0.05)
    np.testing.assert_allclose(before.V.reshape(8, 12)[inner], -8 * u, atol=0.05)


def test_arrows_begin_at_the_centers_and_have_the_confidence(moving_clip):
    axes = panels(draw_displacement(moving_clip, 3), 4)
    quiver = arrows(axes[0, 2])
    y, x = np.mgrid[:8, :12]
    np.testing.assert_array_equal(quiver.X, (8 * x + 4).ravel())
    np.testing.assert_array_equal(quiver.Y, (8 * y + 4).ravel())
    confidence = moving_clip.confidence[3, :, :, 3]
    np.testing.assert_array_equal(quiver.get_array(), confidence.ravel())
    np.testing.assert_array_equal(axes[2, 2].images[0].get_array(), confidence)


def test_offset_0_is_left_out(moving_clip):
    axes = panels(draw_displacement(moving_clip, 3), 4)
    titles = [each.get_title() for each in axes[0]]
    assert titles == [
        'l = -2 (0.10 s)',
        'l = -1 (0.20 s)',
        'l = +1 (0.40 s)',
        'l = +2 (0.50 s)',
    ]


def test_outside_the_clip_is_empty(moving_clip):
    axes = panels(draw_displacement(moving_clip, 0), 4)
    for each in axes[:, :2].flat:
        assert not each.images
        assert not each.collections
        assert [text.get_text() for text in each.texts] == ['outside\nthe clip']
    for each in axes[:, 2:].flat:
        assert each.images


def test_color_bars_say_what_low_means(moving_clip):
    figure = draw_displacement(moving_clip)
    labels = [axes.get_ylabel() for axes in figure.axes]
    holders = [axes for axes in figure.axes if axes.child_axes]
    labels += [child.get_ylabel() for axes in holders for child in axes.child_axes]
    assert labels.count('highest similarity\n(low: occluded or no match)') == 2
    scale = confidence_scale(moving_clip)
    assert scale.vmax == pytest.approx(1, abs=1e-5)


def test_large_grids_have_fewer_arrows(moving_clip):
    stss = moving_clip.stss.repeat(4, 1).repeat(4, 2)
    clip = dataclasses.replace(moving_clip, stss=stss)  # 32x48 cells of 2x2 pixels
    axes = panels(draw_displacement(clip, 3), 4)
    quiver = arrows(axes[0, 2])
    assert quiver.N == 11 * 16  # every third, on both sides
    assert axes[1, 2].images[0].get_array().shape == (32, 48, 4)
    # The arrows are those of the positions at which they begin.
    y, x = (quiver.Y / 2 - 0.5).astype(int), (quiver.X / 2 - 0.5).astype(int)
    np.testing.assert_allclose(quiver.U, 2 * clip.displacement[3, y, x, 3, 1])


@pytest.mark.parametrize('offsets', [(0,), (1,), (-7, 7)])
def test_few_offsets_and_one_frame(moving_clip, offsets):
    stss = moving_clip.stss[:1, :, :, : len(offsets)]
    clip = dataclasses.replace(
        moving_clip, frames=moving_clip.frames[:1], stss=stss, offsets=offsets
    )
    render(draw_displacement(clip))


@pytest.mark.parametrize('t', [-1, 6, 2.5])
def test_wrong_frames_are_errors(moving_clip, t):
    with pytest.raises(ValueError, match='t must be an integer from 0 to 5'):
        draw_displacement(moving_clip, t)
