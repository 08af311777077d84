# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""ImageMagick's motion blur on one frame.

The reference was recorded with ImageMagick 6.9.11-60 Q16 and Wand 0.7.2, as in
ImageNet-C::

    with wand.image.Image(blob=png) as image:
        image.motion_blur(radius=radius, sigma=sigma, angle=angle)
        blurred = cv2.imdecode(np.frombuffer(image.make_blob(), np.uint8), -1)
"""

from pathlib import Path

import numpy as np
import pytest
import yaml
from mmaction.registry import TRANSFORMS

from selfy_mmaction.datasets.transforms.motion_blur_frame import (
    MOTION_BLURS,
    motion_blur,
)

DATA = Path(__file__).parents[1] / 'data'
LEVELS = ((15, 5), (10, 8), (15, 12), (20, 15), (25, 20), (30, 25))


def blur(results: dict, **kwargs) -> dict:
    return TRANSFORMS.build(dict(type='MotionBlurFrame', **kwargs))(results)


def clip(size: tuple = (32, 40), **kwargs) -> dict:
    frames = np.random.default_rng(0).integers(0, 256, (8, *size, 3), dtype=np.uint8)
    return dict(
        imgs=list(frames),
        clip_len=1,
        num_clips=8,
        **(kwargs or dict(filename='videos/7.webm')),
    )


def corrupted(before: dict, after: dict) -> list[int]:
    pairs = enumerate(zip(before['imgs'], after['imgs'], strict=True))
    return [i for i, (old, new) in pairs if not np.array_equal(old, new)]


def test_levels_equal_the_supplement():
    robustness = yaml.safe_load((DATA / 'tables.yml').read_text())['robustness']
    assert list(map(list, MOTION_BLURS)) == robustness['motion_blur_radius_sigma']


@pytest.mark.parametrize('index', range(6))
def test_equals_imagemagick(index):
    recorded = np.load(DATA / 'golden' / 'motion_blur_imagemagick.npz')
    ours = motion_blur(recorded['image'], *LEVELS[index], recorded['angles'][index])
    np.testing.assert_array_equal(ours, recorded['blurred'][index])


def test_trail_of_a_point_is_half_a_gaussian():
    image = np.zeros((21, 41, 3), np.uint8)
    image[10, 30] = 255
    trail = motion_blur(image, radius=5, sigma=4, angle=0)[10, :, 0].astype(float)
    gauss = np.exp(-(np.arange(11) ** 2) / (2 * 4**2))
    expected = np.zeros(41)
    expected[30 - np.arange(11)] = 255 * gauss / gauss.sum()
    np.testing.assert_allclose(trail, expected, atol=1)
    assert motion_blur(image, 5, 4, 0)[[9, 11]].max() == 0


@pytest.mark.parametrize(('angle', 'step'), [(45, (-1, -1)), (-45, (1, -1))])
def test_trail_follows_the_angle(angle, step):
    image = np.zeros((41, 41, 3), np.uint8)
    image[20, 20] = 255
    rows, columns = np.nonzero(motion_blur(image, 3, 3, angle)[..., 0])
    assert len(rows) > 3
    np.testing.assert_array_equal(rows - 20, step[0] * np.abs(rows - 20))
    np.testing.assert_array_equal(columns - 20, step[1] * np.abs(rows - 20))


def test_constant_image_is_unchanged():
    image = np.full((20, 30, 3), 201, np.uint8)
    np.testing.assert_array_equal(motion_blur(image, 30, 25, 33), image)


@pytest.mark.parametrize('level', range(1, 7))
def test_blurs_the_4th_of_8_frames(level):
    before, after = clip((224, 224)), blur(clip((224, 224)), level=level)
    assert corrupted(before, after) == [3]
    assert after['imgs'][3].dtype == np.uint8


def test_levels_scale_with_the_short_side():
    # 32 / 224 = 1 / 7, at the same angle.
    scaled = blur(clip(), level=3)['imgs'][3]
    angle = angle_of(filename='7.webm')
    explicit = motion_blur(clip()['imgs'][3], 15 / 7, 12 / 7, angle)
    np.testing.assert_array_equal(scaled, explicit)


def test_frame_option():
    assert corrupted(clip(), blur(clip(), level=6, frame=0)) == [0]


def angle_of(seed: int = 0, **names) -> float:
    transform = TRANSFORMS.build(dict(type='MotionBlurFrame', level=1, seed=seed))
    return transform.draw_angle(names)


def test_angle_is_drawn_per_video():
    results = clip((224, 224), filename='videos/7.webm')
    expected = motion_blur(results['imgs'][3], 20, 15, angle_of(filename='7.webm'))
    blurred = blur(results, level=4)['imgs'][3]
    np.testing.assert_array_equal(blurred, expected)


def test_angle_depends_only_on_name_and_seed():
    angle = angle_of(filename='videos/7.webm')
    np.random.seed(1)
    assert angle_of(filename='elsewhere/7.mp4') == angle
    assert angle_of(frame_dir='rawframes/7') == angle
    assert angle_of(filename='videos/8.webm') != angle
    assert angle_of(filename='videos/7.webm', seed=1) != angle


def test_angles_are_uniform_from_minus_45_to_45_degrees():
    angles = [angle_of(frame_dir=f'rawframes/{name}') for name in range(1000)]
    counts, _ = np.histogram(angles, bins=9, range=(-45, 45))
    assert counts.sum() == 1000
    assert counts.min() > 70  # 111 expected, standard deviation 10


def test_bad_arguments():
    message = r'level=7 does not exist; .* 1 to 6: \(15, 5\)'
    with pytest.raises(ValueError, match=message):
        TRANSFORMS.build(dict(type='MotionBlurFrame', level=7))
    with pytest.raises(ValueError, match='seed must be an integer from 0 .*got -1'):
        TRANSFORMS.build(dict(type='MotionBlurFrame', level=1, seed=-1))
    for radius, sigma in ((0, 5), (5, -1)):
        message = f'radius={radius} and sigma={sigma} must be above 0'
        with pytest.raises(ValueError, match=message):
            motion_blur(clip()['imgs'][0], radius, sigma, 0)


def test_clip_without_a_name_is_rejected():
    with pytest.raises(ValueError, match='neither filename nor frame_dir'):
        blur(clip(label=0), level=1)
