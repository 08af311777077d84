# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import random
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from mmaction.registry import DATASETS, HOOKS

SAMPLE = dict(type='SampleFrames', clip_len=1, num_clips=2)
READ = [dict(type='OpenCVInit'), SAMPLE, dict(type='OpenCVDecode')]
SIZES = [(96, 64), (160, 120), (64, 96)]  # width, height


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('clips')
    for index, size in enumerate(SIZES):
        writer = cv2.VideoWriter(
            str(folder / f'{index}.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 10, size
        )
        for _ in range(4):
            writer.write(np.zeros((size[1], size[0], 3), np.uint8))
        writer.release()
    (folder / 'broken.avi').write_bytes(b'no video')
    return folder


def check(folder, *steps, clips=('1.avi',), **options):
    ann_file = folder / 'list.txt'
    ann_file.write_text(''.join(f'{clip} 0\n' for clip in clips))
    dataset = DATASETS.build(
        dict(
            type='CheckedVideoDataset',
            ann_file=str(ann_file),
            data_prefix=dict(video=str(folder)),
            pipeline=[*READ, *steps],
            **options,
        )
    )
    loader = SimpleNamespace(dataset=dataset)
    hook = HOOKS.build(dict(type='CropCheckHook'))
    hook.before_test(SimpleNamespace(model=None, test_dataloader=loader))


@pytest.mark.parametrize('size', [121, (161, 100)])
@pytest.mark.parametrize('kind', ['CenterCrop', 'ThreeCrop', 'TenCrop', 'RandomCrop'])
def test_crop_larger_than_the_frames(kind, size, folder):
    if kind == 'RandomCrop':
        size = 121
    option = 'size' if kind == 'RandomCrop' else 'crop_size'
    match = f'{kind} of .*list.txt. gets frames of 160x120 for .*1.avi.*Resize'
    with pytest.raises(ValueError, match=match):
        check(folder, {'type': kind, option: size})


def test_crop_as_large_as_the_frames(folder):
    check(folder, dict(type='CenterCrop', crop_size=(160, 120)))
    check(folder, dict(type='RandomCrop', size=120))


def test_last_clip_is_checked(folder):
    crop = dict(type='CenterCrop', crop_size=(96, 64))
    check(folder, crop, clips=['0.avi', '1.avi'])
    with pytest.raises(ValueError, match='gets frames of 64x96 for .*2.avi'):
        check(folder, crop, clips=['0.avi', '2.avi'])


def test_second_crop(folder):
    crops = [dict(type='CenterCrop', crop_size=size) for size in (100, 101)]
    with pytest.raises(ValueError, match='101x101 .* gets frames of 100x100'):
        check(folder, *crops)


@pytest.mark.parametrize(
    ('scale', 'keep_ratio', 'fits'),
    [
        ((-1, 128), True, True),
        ((128, 128), False, True),
        ((-1, 127), True, False),
        ((300, 127), False, False),
        ((128, 128), True, False),  # the short side is 96
        (1.0, True, False),
        (1.1, True, True),
    ],
)
def test_resize_before_the_crop(scale, keep_ratio, fits, folder):
    steps = [
        dict(type='Resize', scale=scale, keep_ratio=keep_ratio),
        dict(type='CenterCrop', crop_size=128),
    ]
    if fits:
        check(folder, *steps)
    else:
        with pytest.raises(ValueError, match='CenterCrop of 128x128'):
            check(folder, *steps)


@pytest.mark.parametrize('size', [224, 256])
def test_no_clip_is_read_if_a_resize_ensures_the_size(size, folder, log):
    steps = [
        dict(type='Resize', scale=(-1, 256)),
        dict(type='CenterCrop', crop_size=size),
    ]
    check(folder, *steps, clips=['broken.avi'])
    assert not log  # else: the clip cannot be read


def test_unreadable_clip_is_left_to_the_dataset(folder, log):
    check(folder, dict(type='CenterCrop', crop_size=999), clips=['broken.avi'])
    assert "not compared with the frames of '" in log[-1]


def test_check_does_not_change_the_random_state(folder):
    random.seed(0)
    np.random.seed(0)
    expected = random.random(), np.random.rand()
    random.seed(0)
    np.random.seed(0)
    check(folder, dict(type='RandomCrop', size=100))
    assert (random.random(), np.random.rand()) == expected


def test_datasets_of_other_kinds_are_ignored():
    hook = HOOKS.build(dict(type='CropCheckHook'))
    loader = SimpleNamespace(dataset=[1, 2])
    hook.before_test(SimpleNamespace(model=None, test_dataloader=loader))
