import dataclasses

import numpy as np
import pytest

from selfy_mmaction.visualization.animation import render
from selfy_mmaction.visualization.channel_figure import draw_channels, most_active


def columns(subfigure, top, count):
    axes = [each for each in subfigure.axes if each.get_label() != '<colorbar>']
    return np.array(axes, dtype=object).reshape(top, -1)[:, :count].T


def channel_of(axes):
    return int(axes.get_title().rpartition('channel ')[2])


def test_extraction_shows_the_most_active_channels_per_offset(moving_clip):
    upper, _ = draw_channels(moving_clip, 3).subfigs
    for index, column in enumerate(columns(upper, 3, 5)):
        values = moving_clip.extraction[3, :, :, index]
        means = np.abs(values).mean((0, 1))
        shown = [channel_of(axes) for axes in column]
        assert sorted(means[shown]) == sorted(means)[-3:]
        assert means[shown[0]] == means.max()
        for axes, channel in zip(column, shown, strict=True):
            np.testing.assert_array_equal(
                axes.images[1].get_array(), values[..., channel]
            )
            assert axes.images[1].get_extent() == [0, 96, 64, 0]


def test_integration_shows_channels_per_frame(moving_clip):
    _, lower = draw_channels(moving_clip, 3, top=2).subfigs
    for t, column in enumerate(columns(lower, 2, 6)):
        for axes in column:
            np.testing.assert_array_equal(
                axes.images[1].get_array(), moving_clip.integration[t, channel_of(axes)]
            )
    assert column[0].get_title().startswith('frame 5 (0.50 s)\nchannel')


def test_outside_the_clip_is_empty(moving_clip):
    upper, _ = draw_channels(moving_clip, 0).subfigs
    shown = columns(upper, 3, 5)
    for axes in shown[:2].flat:
        assert not axes.images
        assert [text.get_text() for text in axes.texts] == ['outside\nthe clip']
    assert all(axes.images for axes in shown[2:].flat)


@pytest.mark.parametrize('count', [1, 2, 64])
def test_any_number_of_channels(moving_clip, count):
    extraction = np.random.default_rng(0).normal(size=(6, 8, 12, 5, count))
    clip = dataclasses.replace(moving_clip, extraction=extraction)
    figure = draw_channels(clip, top=2)
    upper, _ = figure.subfigs
    assert columns(upper, min(count, 2), 5).shape == (5, min(count, 2))
    # Zero is in the middle of the colors if there are negative values.
    scale = upper.axes[0].images[1].norm
    assert scale.vmin == -scale.vmax
    render(figure)


def test_dead_channels_are_drawn(moving_clip):
    clip = dataclasses.replace(
        moving_clip, extraction=np.zeros_like(moving_clip.extraction)
    )
    render(draw_channels(clip, top=1))


def test_long_clips_show_some_frames(moving_clip):
    repeated = {
        name: getattr(moving_clip, name).repeat(5, 0)
        for name in ('frames', 'stss', 'extraction', 'integration')
    }
    clip = dataclasses.replace(moving_clip, seconds=None, **repeated)
    _, lower = draw_channels(clip, top=1).subfigs
    titles = [axes.get_title().split('\n')[0] for axes in columns(lower, 1, 8).flat]
    assert titles[0] == 'frame 0'
    assert titles[-1] == 'frame 29'


def test_ties_keep_their_order():
    assert most_active(np.ones((4, 2, 2)), 3) == [0, 1, 2]


@pytest.mark.parametrize('missing', ['extraction', 'integration'])
def test_without_a_block_the_error_says_so(moving_clip, missing):
    clip = dataclasses.replace(moving_clip, **{missing: None})
    with pytest.raises(ValueError, match=r'moving\.mp4 was recorded without a SELFY'):
        draw_channels(clip)


@pytest.mark.parametrize('kwargs', [dict(t=6), dict(top=0)])
def test_wrong_arguments_are_errors(moving_clip, kwargs):
    with pytest.raises(ValueError, match='must be an integer'):
        draw_channels(moving_clip, **kwargs)
