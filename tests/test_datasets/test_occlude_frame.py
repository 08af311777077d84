# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from pathlib import Path

import numpy as np
import pytest
import yaml
from mmaction.datasets.transforms import SampleFrames, ThreeCrop
from mmaction.registry import TRANSFORMS

from selfy_mmaction.datasets.transforms.occlude_frame import OCCLUSION_SIDES

TABLES = Path(__file__).parents[1] / 'data' / 'tables.yml'


def occlude(results: dict, **kwargs) -> dict:
    return TRANSFORMS.build(dict(type='OccludeFrame', **kwargs))(results)


def clip(frames: int = 8, size: tuple = (224, 224), clip_len: int = 1) -> dict:
    """Make clips of white frames."""
    return dict(
        imgs=[np.full((*size, 3), 255, np.uint8) for _ in range(frames)],
        clip_len=clip_len,
        num_clips=frames // clip_len,
    )


def corrupted(images: list) -> list[int]:
    return [i for i, image in enumerate(images) if not (image == 255).all()]


def test_levels_equal_the_supplement():
    tables = yaml.safe_load(TABLES.read_text())
    assert list(OCCLUSION_SIDES) == tables['robustness']['occlusion_side_px']


@pytest.mark.parametrize('level', range(1, 7))
def test_blacks_out_the_center_of_the_4th_of_8_frames(level):
    side = (40, 80, 120, 160, 200, 224)[level - 1]
    images = occlude(clip(), level=level)['imgs']
    assert corrupted(images) == [3]
    assert images[3].dtype == np.uint8
    black = (images[3] == 0).all(axis=2)
    assert black.sum() == side**2
    border = (224 - side) // 2
    assert black[border : 224 - border, border : 224 - border].all()


@pytest.mark.parametrize(
    ('size', 'sides'),
    [
        ((64, 64), (11, 23, 34, 46, 57, 64)),  # 64 / 224 of the paper's sides, rounded
        ((256, 340), (46, 91, 137, 183, 229, 256)),
    ],
)
def test_levels_scale_with_the_short_side(size, sides):
    for level, side in enumerate(sides, start=1):
        images = occlude(clip(size=size), level=level)['imgs']
        assert (images[3] == 0).all(axis=2).sum() == side**2


@pytest.mark.parametrize(('frames', 'frame'), [(3, 1), (8, 3), (16, 7)])
def test_center_frame_of_other_lengths(frames, frame):
    assert corrupted(occlude(clip(frames), level=1)['imgs']) == [frame]


def test_frame_option():
    images = occlude(clip(size=(21, 28)), level=1, frame=7)['imgs']
    assert corrupted(images) == [7]
    rows, columns = np.nonzero(images[7][..., 0] == 0)
    assert set(rows) == {8, 9, 10, 11}  # 40 * 21 / 224 = 3.75
    assert set(columns) == {12, 13, 14, 15}


def test_every_clip_and_crop_is_corrupted():
    results = clip(16, size=(30, 40))
    sample = SampleFrames(1, num_clips=8, twice_sample=True, test_mode=True)
    results.update(sample(dict(total_frames=50, start_index=0)))
    assert len(results['frame_inds']) == len(results['imgs'])
    results = occlude(ThreeCrop(30)(results), level=2)
    # Order: crops, clips, frames. Crops overlap in memory.
    assert corrupted(results['imgs']) == [3, 11, 19, 27, 35, 43]


def test_clips_of_3d_networks_have_clip_len_frames():
    assert corrupted(occlude(clip(32, clip_len=8), level=2)['imgs']) == [3, 11, 19, 27]


def test_frames_that_share_an_array_are_not_corrupted():
    # RawFrameDecode uses one array for a frame that a short clip repeats.
    image = np.full((64, 64, 3), 255, np.uint8)
    results = dict(imgs=[image] * 8, clip_len=1, num_clips=8)
    assert corrupted(occlude(results, level=1)['imgs']) == [3]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(level=0), 'level=0 does not exist; .* 1 to 6: 40, 80'),
        (dict(level=7), 'level=7 does not exist'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        TRANSFORMS.build(dict(type='OccludeFrame', **arguments))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(imgs=np.zeros((8, 3, 224, 224), np.uint8)), 'before FormatShape'),
        (dict(imgs=[np.zeros((9, 9, 3), np.float32)] * 8), 'type float32'),
        (dict(num_clips=5), '8 frames do not divide into clips of 5'),
        (dict(num_clips=2), 'frame=3 does not exist in clips of 2 frames'),
    ],
)
def test_bad_results(change, message):
    with pytest.raises(ValueError, match=message):
        occlude({**clip(), **change}, level=1, frame=3)
