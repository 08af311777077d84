import dataclasses

import numpy as np
import pytest
import torch

from selfy_mmaction.ops import self_similarity
from selfy_mmaction.visualization.queries import (
    check_queries,
    follow,
    grid_queries,
    moving_queries,
    queries_at,
)


@pytest.fixture(scope='module')
def square_clip(moving_clip):
    """A square of 2x2 cells that moves by 1 column per frame over a gray frame."""
    frames = np.full((6, 64, 96, 3), 128, np.uint8)
    colors = np.random.default_rng(0).integers(0, 255, (2, 2, 3))
    for t in range(6):
        square = colors.repeat(8, 0).repeat(8, 1)
        frames[t, 24:40, 16 + 8 * t : 32 + 8 * t] = square
    cells = torch.from_numpy(frames[:, ::8, ::8].copy()).permute(0, 3, 1, 2).float()
    features = torch.cat([cells - 128, torch.ones(6, 1, 8, 12)], 1)
    stss = self_similarity(features, moving_clip.offsets, (9, 7), num_segments=6)[0]
    return dataclasses.replace(moving_clip, frames=frames, stss=stss.numpy())


def still(clip):
    frames = clip.frames[:1].repeat(len(clip.frames), 0)
    return dataclasses.replace(clip, frames=frames)


def test_pixels_are_found_in_their_cell(moving_clip):
    # Cells have 8x8 pixels; the corners of the frame are in the outer cells.
    points = [(0, 0, 0), (5, 95, 63), (2, 7.9, 8)]
    assert queries_at(moving_clip, points) == [(0, 0, 0), (5, 7, 11), (2, 1, 0)]


def test_pixels_of_one_cell_give_one_position(moving_clip):
    assert queries_at(moving_clip, [(1, 8, 8), (1, 9, 10)]) == [(1, 1, 1)]


@pytest.mark.parametrize(
    ('point', 'reason'),
    [
        ((6, 0, 0), r'no frame 6; the clip of moving\.mp4 has 6 frames, 0 to 5'),
        ((-1, 0, 0), 'no frame -1'),
        ((1.5, 0, 0), r'no frame 1\.5'),
        ((float('nan'), 0, 0), 'no frame nan'),
        ((0, 96, 0), r'\(0, 96, 0\) is outside the frame; .* 96x64 pixels: x from 0'),
        ((0, 0, 64), 'y from 0 to 63'),
        ((0, -1, 0), 'outside the frame'),
        ((0, float('nan'), 0), 'outside the frame'),
    ],
)
def test_points_outside_are_errors(moving_clip, point, reason):
    with pytest.raises(ValueError, match=reason):
        queries_at(moving_clip, [(0, 0, 0), point])


def test_no_point_is_an_error(moving_clip):
    with pytest.raises(ValueError, match='no point'):
        queries_at(moving_clip, [])


@pytest.mark.parametrize(
    'query', [(6, 0, 0), (0, 8, 0), (0, 0, 12), (0, 0, -1), (0, 0), (0, 0.5, 0)]
)
def test_positions_outside_the_grid_are_errors(moving_clip, query):
    with pytest.raises(ValueError, match='t from 0 to 5, y from 0 to 7 and x from 0'):
        check_queries(moving_clip, [query])


def test_no_position_is_an_error(moving_clip):
    with pytest.raises(ValueError, match='no query position'):
        check_queries(moving_clip, [])


def test_grid_is_spread_over_the_middle_frame(moving_clip):
    expected = [(3, 2, 3), (3, 2, 9), (3, 6, 3), (3, 6, 9)]
    assert grid_queries(moving_clip, 2) == expected
    assert grid_queries(moving_clip, 1, t=0) == [(0, 4, 6)]


def test_large_grid_has_each_position_once(moving_clip):
    found = grid_queries(moving_clip, 100)
    assert len(found) == len(set(found)) == 8 * 12


@pytest.mark.parametrize('kwargs', [dict(side=0), dict(side=2, t=6)])
def test_wrong_grids_are_errors(moving_clip, kwargs):
    with pytest.raises(ValueError, match='must be an integer'):
        grid_queries(moving_clip, **kwargs)


def test_moving_positions_are_on_what_moves(square_clip):
    found, note = moving_queries(square_clip)
    assert found
    assert not note
    for t, y, x in found:
        assert y in (3, 4)
        assert x in (2 + t, 3 + t)


def test_moving_positions_are_spread(moving_clip):
    found, _ = moving_queries(moving_clip, 6)
    assert len(found) == 6
    places = np.array(found)[:, 1:]
    distances = np.abs(places[:, None] - places).max(-1)
    assert distances[~np.eye(6, dtype=bool)].min() > 1


def test_still_clip_gives_a_grid_and_a_note(moving_clip):
    found, note = moving_queries(still(moving_clip))
    assert found == grid_queries(moving_clip, 2)
    assert 'moving.mp4: nothing moves in it' in note


def test_clip_of_one_frame_gives_a_grid_and_a_note(moving_clip):
    clip = dataclasses.replace(
        moving_clip, frames=moving_clip.frames[:1], stss=moving_clip.stss[:1]
    )
    found, note = moving_queries(clip, 1)
    assert found == [(0, 4, 6)]
    assert 'it has one frame' in note


def test_only_offset_0_uses_the_change_of_the_frames(square_clip):
    clip = dataclasses.replace(
        square_clip, stss=square_clip.stss[..., 2:3, :, :], offsets=(0,)
    )
    found, _ = moving_queries(clip)
    assert all(y in (3, 4) for _, y, _ in found)


def test_follow_moves_with_the_features(moving_clip):
    # (u, v) = (1, -1) per frame.
    path = follow(moving_clip, (2, 3, 7))
    assert path == [(t, 1 + t, 9 - t) for t in range(6)]


def test_follow_stays_in_the_frame(moving_clip):
    for t, y, x in follow(moving_clip, (3, 7, 0)):
        assert (0 <= t < 6, 0 <= y < 8, 0 <= x < 12) == (True, True, True)


def test_follow_stays_without_the_offset_1(moving_clip):
    clip = dataclasses.replace(
        moving_clip, stss=moving_clip.stss[..., [0, 2, 4], :, :], offsets=(-2, 0, 2)
    )
    assert follow(clip, (2, 3, 7)) == [(t, 3, 7) for t in range(6)]


def test_moving_positions_prefer_whole_windows(moving_clip):
    # All positions move; at the border of the frame, a part of the window is beyond it.
    [(_, y, x)], _ = moving_queries(moving_clip, 1)
    assert 0 < y < 7
    assert 0 < x < 11
