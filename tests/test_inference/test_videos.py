# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import os

import cv2
import numpy as np
import pytest

from selfy_mmaction.inference.results import name_pictures
from selfy_mmaction.inference.videos import (
    check_seconds,
    cut_windows,
    find_videos,
    frame_times,
    select_window,
)


@pytest.fixture
def folder(tmp_path):
    for name in (
        *('b.MP4', 'a.webm', 'notes.txt', '.hidden.mp4', 'sub dir/ü.AVI'),
        *('sub dir/deep/c.mov', '.cache/d.mp4', 'empty/readme.md'),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'x')
    return tmp_path


def test_videos_in_folders(folder):
    found = find_videos(folder)
    assert [os.path.relpath(path, folder).replace(os.sep, '/') for path in found] == [
        *('a.webm', 'b.MP4', 'sub dir/ü.AVI', 'sub dir/deep/c.mov')
    ]
    # Each video once, a file of any name, and in the order of the arguments.
    notes, video = folder / 'notes.txt', folder / 'b.MP4'
    assert find_videos([notes, video, folder]) == [
        *map(str, (notes, video, folder / 'a.webm')),
        *found[2:],
    ]
    (folder / 'link').symlink_to(folder / 'sub dir')
    assert len(find_videos(folder / 'link')) == 2
    assert len(find_videos(folder)) == 4


def test_no_videos(folder):
    with pytest.raises(FileNotFoundError, match=r"'none\.mp4' does not exist"):
        find_videos([folder, 'none.mp4'])
    with pytest.raises(FileNotFoundError, match=r'no videos and 1 other files.*\.mp4'):
        find_videos(folder / 'empty')
    with pytest.raises(ValueError, match='no video is given'):
        find_videos([])
    (folder / 'clip').touch()
    with pytest.raises(ValueError, match=r'clip has no extension.*clip\.mp4; rename'):
        find_videos(folder / 'clip')


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.webp'])
def test_images_are_rejected(tmp_path, suffix):
    path = tmp_path / 'still.mp4'
    path.write_bytes(cv2.imencode(suffix, np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    with pytest.raises(ValueError, match=r'still\.mp4 is an image'):
        find_videos(path)


def spans(*args):
    return [(w.first, w.length) for w in cut_windows(*args)]


def test_windows():
    times = np.arange(101) / 25  # 4 s
    assert spans(times, 100, None) == [(0, 100)]
    assert spans(times, 100, 4) == [(0, 100)]
    assert spans(times, 100, 9) == [(0, 100)]
    assert spans(times, 100, 2) == [(0, 50), (50, 50)]
    assert spans(times, 100, 2, 1) == [(0, 50), (25, 50), (50, 50)]
    # The last window ends with the video.
    assert spans(times, 100, 1.6) == [(0, 40), (40, 40), (60, 40)]
    assert spans(times, 100, 1, 2.4) == [(0, 25), (60, 25), (75, 25)]
    # 12.5 frames
    assert {length for _, length in spans(times, 100, 1, 0.5)} == {25}
    assert spans(times, 100, 0.04) == [(index, 1) for index in range(100)]
    (whole,) = cut_windows(None, 100)
    assert whole == (0, 100, 0.0, None)
    assert spans(np.array([0, 0.1]), 1, 1) == [(0, 1)]


def test_windows_of_a_variable_frame_rate():
    """2 s at 10 frames per second, then 2 s at 30."""
    times = np.concatenate([np.arange(20) / 10, 2 + np.arange(61) / 30])
    windows = cut_windows(times, 80, 1)
    assert [(w.first, w.length) for w in windows] == [
        *((0, 10), (10, 10), (20, 30), (50, 30))
    ]
    assert [(w.start, w.end) for w in windows] == [
        (pytest.approx(second), pytest.approx(second + 1)) for second in range(4)
    ]


@pytest.mark.parametrize('fps', [23.976, 29.97, 15.0007, 7.5])
@pytest.mark.parametrize(('window', 'stride'), [(1, 1), (2, 0.5), (0.7, 0.3)])
def test_windows_have_the_requested_length(fps, window, stride):
    total = round(37.3 * fps)
    windows = cut_windows(np.arange(total + 1) / fps, total, window, stride)
    for index, each in enumerate(windows):
        assert abs(each.length - window * fps) <= 1
        if index < len(windows) - 1:
            assert each.start == pytest.approx(index * stride, abs=0.51 / fps)
    assert windows[-1].first + windows[-1].length == total


def test_windows_that_cannot_be_cut():
    with pytest.raises(ValueError, match='frame rate is unknown'):
        cut_windows(None, 100, 1)
    with pytest.raises(ValueError, match=r'window of 0\.01 s is shorter than a frame'):
        cut_windows(np.arange(101) / 25, 100, 0.01)
    for wrong in (0, -1, float('nan'), float('inf'), '2'):
        with pytest.raises(ValueError, match='expected seconds above 0'):
            check_seconds(wrong, None)
        with pytest.raises(ValueError, match='stride'):
            check_seconds(1, wrong)
    with pytest.raises(ValueError, match='needs a window'):
        check_seconds(None, 1)


def test_frame_times():
    class Reader:
        def __init__(self, stamps):
            self.stamps = np.array(stamps)

        def get_frame_timestamp(self, indices):
            return self.stamps[list(indices)]

    def times(stamps, fps=10):
        reader = Reader(stamps)
        return frame_times(
            dict(total_frames=len(stamps), avg_fps=fps, video_reader=reader)
        )

    assert times([[0.5, 0.6], [0.6, 0.8], [0.8, 0.9]]) == pytest.approx(
        [0, 0.1, 0.3, 0.4]
    )
    assert times([[-9e15, -9e15]] * 2) == pytest.approx([0, 0.1, 0.2])  # no times
    assert times([[0, 0.1], [0, 0.1]], 25) == pytest.approx([0, 0.04, 0.08])
    assert times([[0, 0.1]], 0) is None


def test_pictures_have_different_names(tmp_path):
    videos = ['x/clip.mp4', 'y/clip.mp4', 'x/clip.avi', 'z/y/clip.mp4']
    names = name_pictures(videos, tmp_path)
    assert len(set(names.values())) == 4
    assert names['x/clip.avi'] == tmp_path / 'clip.avi.png'
    assert names['x/clip.mp4'] == tmp_path / 'x' / 'clip.mp4.png'
    assert names['z/y/clip.mp4'] == tmp_path / 'z' / 'y' / 'clip.mp4.png'
    assert names['y/clip.mp4'].name == 'clip.mp4.png'


@pytest.mark.parametrize(
    ('start', 'seconds', 'expected'),
    [
        (None, None, (0, 20)),
        (0, 2, (0, 20)),
        (0.5, None, (5, 15)),
        (0.5, 1, (5, 10)),
        (None, 0.3, (0, 3)),
        (1.9, 5, (19, 1)),  # ends with the video
        (0.5, 0.01, (5, 1)),  # at least one frame
    ],
)
def test_select_window(start, seconds, expected):
    times = np.arange(21) / 10
    window = select_window(times, 20, start, seconds)
    assert (window.first, window.length) == expected
    assert window.start == pytest.approx(expected[0] / 10)
    assert window.end == pytest.approx(sum(expected) / 10)


def test_select_window_outside():
    times = np.arange(21) / 10
    with pytest.raises(ValueError, match=r'start is 2, expected 0 to 2, the seconds'):
        select_window(times, 20, start=2)
    with pytest.raises(ValueError, match=r'start is nan, expected 0 to 2'):
        select_window(times, 20, start=float('nan'))
    with pytest.raises(ValueError, match=r'seconds is inf, expected a number above 0'):
        select_window(times, 20, seconds=float('inf'))
    assert select_window(None, 20).length == 20
    with pytest.raises(ValueError, match=r'frame rate is unknown'):
        select_window(None, 20, start=1)
