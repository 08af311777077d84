import dataclasses
import sys

import av
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver
from PIL import Image

from selfy_mmaction.visualization import animation
from selfy_mmaction.visualization.animation import (
    check_moving,
    render,
    save_figure,
    write_animation,
)
from selfy_mmaction.visualization.clip_animation import draw_clip

COLORS = ((255, 0, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (0, 255, 0))


def pictures(height=40, width=60):
    return [np.full((height, width, 3), color, np.uint8) for color in COLORS]


def read_gif(path):
    with Image.open(path) as image:
        frames = []
        for index in range(image.n_frames):
            image.seek(index)
            frames.append(np.asarray(image.convert('RGB')))
        return frames, image.info


def read_mp4(path):
    with av.open(str(path)) as container:
        rate = container.streams.video[0].average_rate
        return [f.to_ndarray(format='rgb24') for f in container.decode(video=0)], rate


def test_gif_has_the_frames_and_repeats(tmp_path):
    path = tmp_path / 'new folder' / 'a b é.gif'
    write_animation(path, pictures(), seconds=0.2)
    frames, info = read_gif(path)
    np.testing.assert_array_equal(frames, pictures())
    assert info['duration'] == 200
    assert info['loop'] == 0


@pytest.mark.parametrize('size', [(40, 60), (41, 61)])
def test_mp4_has_the_frames_and_even_sizes(tmp_path, size):
    path = tmp_path / 'a.MP4'
    write_animation(path, pictures(*size), seconds=0.4)
    frames, rate = read_mp4(path)
    assert rate == 2.5
    assert len(frames) == 5
    assert frames[0].shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    # Colors are compressed.
    np.testing.assert_allclose(
        [frame[-1, -1] for frame in frames], np.array(COLORS), atol=12
    )


def test_one_frame_and_generators(tmp_path):
    for name in ('a.gif', 'a.mp4'):
        write_animation(tmp_path / name, iter(pictures()[:1]))
    assert len(read_gif(tmp_path / 'a.gif')[0]) == 1
    assert len(read_mp4(tmp_path / 'a.mp4')[0]) == 1


@pytest.mark.parametrize('name', ['a.gif', 'a.mp4'])
def test_interrupted_writing_leaves_the_old_file(tmp_path, name, monkeypatch):
    path = tmp_path / name
    path.write_bytes(b'old')

    def interrupt(path, images, seconds):
        path.write_bytes(b'half')
        raise KeyboardInterrupt

    for function in ('_write_gif', '_write_mp4'):
        monkeypatch.setattr(animation, function, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_animation(path, pictures())
    assert path.read_bytes() == b'old'
    assert [*tmp_path.iterdir()] == [path]


def test_interrupted_drawing_leaves_nothing(tmp_path):
    def some():
        yield from pictures()[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_animation(tmp_path / 'a.gif', some())
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ('name', 'shown', 'seconds', 'reason'),
    [
        ('a.avi', pictures(), 0.5, r"must be '\.gif' or '\.mp4', but got '\.avi'"),
        ('a', pictures(), 0.5, "but got ''"),
        ('a.gif', [], 0.5, r'a\.gif: there is no picture'),
        ('a.gif', [*pictures(), *pictures(8, 8)], 0.5, r'sizes: \[\(8, 8\), \(60, 40'),
        ('a.gif', pictures(), 0, 'seconds must be a positive number'),
        (
            'a.gif',
            [np.zeros((8, 8, 3))],
            0.5,
            r'must be RGB, .* got \(8, 8, 3\), float',
        ),
        ('a.gif', [np.zeros((8, 8), np.uint8)], 0.5, 'must be RGB'),
    ],
)
def test_bad_input(tmp_path, name, shown, seconds, reason):
    with pytest.raises(ValueError, match=reason):
        write_animation(tmp_path / name, shown, seconds)
    assert not [*tmp_path.iterdir()]


def test_missing_pyav_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, 'av', None)
    with pytest.raises(ImportError, match=r'b\.mp4: PyAV .* pip install av, or write'):
        check_moving('b.mp4')
    check_moving('b.gif')


def test_figures_are_written_and_rendered(tmp_path):
    figure = Figure(figsize=(2, 1))
    save_figure(tmp_path / 'sub' / 'a.png', figure, dpi=50)
    with Image.open(tmp_path / 'sub' / 'a.png') as image:
        assert image.size == (100, 50)
    assert render(figure, dpi=40).shape == (40, 80, 3)
    write_animation(tmp_path / 'a.gif', [figure])
    assert read_gif(tmp_path / 'a.gif')[0][0].shape == (100, 200, 3)
    with pytest.raises(ValueError, match=r'a\.jpg: pictures are written as PNG'):
        save_figure(tmp_path / 'a.jpg', figure)


def test_clip_has_a_figure_per_frame(moving_clip, tmp_path):
    path = tmp_path / 'clip.gif'
    clip = dataclasses.replace(
        moving_clip, frames=moving_clip.frames[:3], stss=moving_clip.stss[:3]
    )
    write_animation(path, draw_clip(clip, (2, 4, 6)))
    frames, _ = read_gif(path)
    assert len(frames) == 3
    assert frames[0].shape[1:] == (800, 3)


def test_clip_shows_the_arrows_to_the_next_frame(moving_clip):
    *figures, last = draw_clip(moving_clip, (2, 3, 7))
    for t, figure in enumerate(figures):
        frame = figure.axes[0]
        np.testing.assert_array_equal(
            frame.images[0].get_array(), moving_clip.frames[t]
        )
        [quiver] = [q for q in frame.collections if isinstance(q, Quiver)]
        expected = 8 * moving_clip.displacement[t, ..., 3, :]
        np.testing.assert_allclose(quiver.V, expected[..., 0].ravel())
        np.testing.assert_allclose(quiver.U, expected[..., 1].ravel())
        # The position follows (u, v) = (1, -1) per frame.
        window, mark = frame.patches
        assert mark.get_xy() == (8 * (9 - t), 8 * (1 + t))
        assert window.get_bbox().bounds == (8 * (6 - t), 8 * (t - 3), 56, 72)
    assert not last.axes[0].collections
    assert [text.get_text() for text in last.axes[1].texts] == ['outside\nthe clip']


@pytest.mark.parametrize('offsets', [(0,), (1,), (-3,), tuple(range(-4, 5))])
def test_clip_with_other_offsets(moving_clip, offsets):
    stss = np.resize(moving_clip.stss, (6, 8, 12, len(offsets), 9, 7))
    clip = dataclasses.replace(moving_clip, stss=stss, offsets=offsets)
    figure, *_ = draw_clip(clip, (0, 0, 0), follows=False)
    assert len(figure.axes) == 3 + len(offsets) + 1
    for axes in figure.axes:
        left, bottom, width, height = axes.get_position().bounds
        assert (left >= 0, bottom >= 0) == (True, True)
        assert left + width <= 1
        assert bottom + height <= 1
