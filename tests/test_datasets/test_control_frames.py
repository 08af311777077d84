# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""ControlFrames removes what its control names, and nothing else."""

import numpy as np
import pytest
from mmaction.registry import TRANSFORMS

import selfy_mmaction  # noqa: F401


def run(control, values, clip_len=1, name='a.avi', key='filename'):
    images = [np.full((2, 3, 3), value, np.uint8) for value in values]
    length = clip_len if clip_len > 1 else len(values)
    results = {
        'imgs': images,
        'clip_len': clip_len,
        'num_clips': length if clip_len == 1 else 1,
        key: name,
    }
    transform = TRANSFORMS.build(dict(type='ControlFrames', control=control))
    out = transform(results)['imgs']
    assert [image[0, 0, 0] for image in images] == list(values)
    assert all((image == image[0, 0, 0]).all() for image in out)
    return [int(image[0, 0, 0]) for image in out]


@pytest.mark.parametrize(
    ('control', 'expected'),
    [
        ('one', [3, 3, 3, 3, 3]),
        ('mean', [4, 4, 4, 4, 4]),
        ('first_and_last', [1, 1, 1, 9, 9]),
        ('reversed', [9, 5, 3, 2, 1]),
    ],
)
def test_what_remains(control, expected):
    assert run(control, [1, 2, 3, 5, 9]) == expected


def test_shuffled_depends_on_the_file_alone():
    values = list(range(8))
    first = run('shuffled', values)
    assert sorted(first) == values
    assert first == run('shuffled', values)
    others = {tuple(run('shuffled', values, name=f'{k}.avi')) for k in range(20)}
    assert len(others) == 20
    assert first == run('shuffled', values, key='frame_dir')


def test_each_clip_of_a_video_is_changed():
    # Two crops of a 3D network's clip of four frames.
    assert run('reversed', [1, 2, 3, 4, 5, 6, 7, 8], clip_len=4) == [
        4, 3, 2, 1, 8, 7, 6, 5,
    ]  # fmt: skip
    shuffled = run('shuffled', [1, 2, 3, 4, 11, 12, 13, 14], clip_len=4)
    assert [value + 10 for value in shuffled[:4]] == shuffled[4:]


def test_unknown_control():
    with pytest.raises(ValueError, match="control='backwards' .* 'one', 'mean'"):
        TRANSFORMS.build(dict(type='ControlFrames', control='backwards'))


def test_frames_that_do_not_divide_into_clips():
    with pytest.raises(ValueError, match='7 frames do not divide into clips of 4'):
        run('one', range(7), clip_len=4)
