import dataclasses

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from selfy_mmaction.visualization.animation import render
from selfy_mmaction.visualization.map_figure import (
    draw_maps,
    similarity_maps,
    similarity_scale,
)


def panels(figure, clip):
    """Return the axes of draw_maps, (rows, 1 + L)."""
    axes = [each for each in figure.axes if each.get_label() != '<colorbar>']
    return np.array(axes, dtype=object).reshape(-1, 1 + len(clip.offsets))


def outlines(axes):
    return [
        patch.get_bbox().bounds
        for patch in axes.patches
        if isinstance(patch, Rectangle)
    ]


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_maps_are_the_similarities_at_their_place(moving_clip):
    # 9x7 cells of 8x8 pixels around row 4, column 6 are rows 0 to 8, columns 3 to 9.
    figure = draw_maps(moving_clip, [(3, 4, 6)])
    row = panels(figure, moving_clip)[0]
    for index, axes in enumerate(row[1:]):
        frame, drawn = axes.images
        values = np.ma.filled(drawn.get_array().astype(float), np.nan)
        expected = moving_clip.stss[3, 4, 6, index].copy()
        np.testing.assert_allclose(values[:8], expected[:8])
        assert np.isnan(values[8]).all()  # row 8 of a grid of 8 rows
        assert drawn.get_extent() == [24, 80, 72, 0]
        assert frame.get_extent() == [0, 96, 64, 0]
        assert axes.get_xlim() == (0, 96)
        assert axes.get_ylim() == (64, 0)


def test_frames_are_those_that_the_maps_look_at(moving_clip):
    row = panels(draw_maps(moving_clip, [(3, 4, 6)]), moving_clip)[0]
    np.testing.assert_array_equal(row[0].images[0].get_array(), moving_clip.frames[3])
    for offset, axes in zip(moving_clip.offsets, row[1:], strict=True):
        gray = moving_clip.frames[3 + offset] @ np.array([0.299, 0.587, 0.114]) / 255
        drawn = axes.images[0].get_array()
        np.testing.assert_allclose(drawn, 0.5 + gray / 2, atol=1e-5)


def test_marks_are_at_the_known_motion(moving_clip):
    # (u, v) = (1, -1) cells of 8 pixels per frame.
    row = panels(draw_maps(moving_clip, [(3, 4, 6)]), moving_clip)[0]
    assert outlines(row[0]) == [(48, 32, 8, 8)]
    for offset, axes in zip(moving_clip.offsets, row[1:], strict=True):
        assert outlines(axes) == [(48 - 8 * offset, 32 + 8 * offset, 8, 8)]
        [line] = axes.lines
        place = (52 - 8 * offset, 36 + 8 * offset)
        np.testing.assert_allclose(line.get_xydata()[0], place, atol=0.05)


def test_outside_the_clip_is_empty_and_says_so(moving_clip):
    rows = panels(draw_maps(moving_clip, [(0, 4, 6), (5, 4, 6)]), moving_clip)
    for axes in (*rows[0][1:3], *rows[1][4:]):
        assert not axes.images
        assert not axes.lines
        assert words(axes) == ['outside\nthe clip']
    for axes in (*rows[0][3:], *rows[1][1:4]):
        assert len(axes.images) == 2
        assert not words(axes)


def test_titles_have_offset_and_second(moving_clip):
    row = panels(draw_maps(moving_clip, [(1, 4, 6)]), moving_clip)[0]
    assert [axes.get_title() for axes in row] == [
        'frame 1 (0.10 s)',
        'l = -2',
        'l = -1 (0.00 s)',
        'l = 0 (0.10 s)',
        'l = +1 (0.20 s)',
        'l = +2 (0.30 s)',
    ]
    unknown = dataclasses.replace(moving_clip, seconds=None)
    row = panels(draw_maps(unknown, [(1, 4, 6)]), unknown)[0]
    assert row[0].get_title() == 'frame 1'
    assert row[4].get_title() == 'l = +1 (frame 2)'


def test_all_maps_have_one_color_scale(moving_clip):
    queries = [(3, 4, 6), (0, 0, 0)]
    figure = draw_maps(moving_clip, queries)
    values = np.stack([similarity_maps(moving_clip, query) for query in queries])
    scales = {
        axes.images[1].norm
        for axes in panels(figure, moving_clip)[:, 1:].flat
        if axes.images
    }
    [scale] = scales
    assert (scale.vmin, scale.vmax) == (np.nanmin(values), np.nanmax(values))
    [bar] = [axes for axes in figure.axes if axes.get_label() == '<colorbar>']
    assert bar.get_ylabel() == 'similarity'


def test_what_is_beyond_the_frame_is_not_similar_to_anything(moving_clip):
    # At the corner, 4 rows and 3 columns of the window are beyond the frame.
    maps = similarity_maps(moving_clip, (3, 0, 11))
    assert np.isnan(maps[:, :4]).all()
    assert np.isnan(maps[:, :, 4:]).all()
    assert np.isfinite(maps[:, 4:, :4]).all()


@pytest.mark.parametrize('size', [(1, 64, 96), (1, 96, 64), (3, 300, 20)])
def test_other_frames_and_a_single_offset(moving_clip, size):
    count, height, width = size
    frames = np.zeros((count, height, width, 3), np.uint8)
    stss = moving_clip.stss[:count, :, :, 2:3]
    clip = dataclasses.replace(moving_clip, frames=frames, stss=stss, offsets=(0,))
    figure = draw_maps(clip, [(0, 4, 6)])
    assert panels(figure, clip).shape == (1, 2)
    assert render(figure).std() > 0


def test_nothing_inside_the_clip(moving_clip):
    clip = dataclasses.replace(
        moving_clip, frames=moving_clip.frames[:1], stss=moving_clip.stss[:1, :, :, :1],
        offsets=(1,),
    )  # fmt: skip
    assert similarity_scale(clip, [(0, 4, 6)]).vmax == 1
    render(draw_maps(clip, [(0, 4, 6)]))


def test_any_name_is_drawn(moving_clip, recwarn):
    clip = dataclasses.replace(moving_clip, video='日本語 $x_1 & é' + 'long' * 60)
    figure = draw_maps(clip, [(3, 4, 6)])
    render(figure)
    assert not [w for w in recwarn if 'Glyph' in str(w.message)]
    title = figure.get_suptitle()
    assert '\ufffd\ufffd\ufffd $x_1 & é' in title
    assert '…' in title
    assert len(title) < 180


def test_wrong_positions_are_errors(moving_clip):
    with pytest.raises(ValueError, match='t from 0 to 5'):
        draw_maps(moving_clip, [(6, 0, 0)])
    with pytest.raises(ValueError, match='65 positions .* at most 64'):
        draw_maps(moving_clip, [(0, 0, 0)] * 65)
