# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Bad lists and bad videos: what is said, and when."""

import re

import pytest
from mmaction.registry import DATASETS

PIPELINES = {
    'decord': [
        dict(type='DecordInit'),
        dict(type='SampleFrames', clip_len=1, frame_interval=1, num_clips=8),
        dict(type='DecordDecode'),
    ],
    'opencv': [
        dict(type='OpenCVInit'),
        dict(type='SampleFrames', clip_len=1, frame_interval=1, num_clips=8),
        dict(type='OpenCVDecode'),
    ],
}


def build(motion, tmp_path, lines=None, decoder='decord', **kwargs):
    ann_file = motion / 'train.txt'
    if lines is not None:
        ann_file = tmp_path / 'list.txt'
        ann_file.write_text('\n'.join(lines))
    cfg = dict(
        type='CheckedVideoDataset',
        ann_file=str(ann_file),
        data_prefix=dict(video=str(motion / 'videos')),
        num_classes=4,
        pipeline=PIPELINES[decoder],
    )
    return DATASETS.build({**cfg, **kwargs})


def test_good_list(motion_tiny, tmp_path):
    dataset = build(motion_tiny, tmp_path)
    assert len(dataset) == 24
    assert [info['label'] for info in dataset] == [0, 1, 2, 3] * 6
    assert len(dataset[0]['imgs']) == 8
    assert dataset[0]['imgs'][0].shape == (68, 68, 3)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('train/00000.avi', 'expected a path and one label'),
        ('train/00000.avi 1 2', 'expected a path and one label'),
        ('', 'expected a path and one label'),
        ('train/00000.avi one', "number from 0, but is 'one'"),
        ('train/00000.avi -1', "number from 0, but is '-1'"),
        ('train/00000.avi 4', 'label 4, but num_classes=4 allows 0 to 3'),
    ],
)
def test_bad_line(motion_tiny, tmp_path, line, message):
    lines = ['train/00000.avi 0', line, 'train/00001.avi 1']
    where = re.escape(f'list.txt, line 2: {line!r}')
    with pytest.raises(ValueError, match=f'{where}.*{message}'):
        build(motion_tiny, tmp_path, lines)


def test_missing_videos(motion_tiny, tmp_path):
    lines = ['train/00000.avi 0', 'train/none.avi 1', 'nowhere.avi 2']
    message = '2 of the 3 videos .* the first is .*none.avi.*data_prefix'
    with pytest.raises(FileNotFoundError, match=message):
        build(motion_tiny, tmp_path, lines)


def test_missing_list(motion_tiny, tmp_path):
    with pytest.raises(FileNotFoundError, match='annotation file .*absent.txt'):
        build(motion_tiny, tmp_path, ann_file=str(tmp_path / 'absent.txt'))


@pytest.mark.parametrize('decoder', PIPELINES)
@pytest.mark.parametrize('kept_bytes', [0, 2000])
def test_truncated_video_is_named(motion_tiny, tmp_path, decoder, kept_bytes):
    whole = (motion_tiny / 'videos' / 'train' / '00000.avi').read_bytes()
    (tmp_path / 'cut.avi').write_bytes(whole[:kept_bytes])
    dataset = build(
        motion_tiny,
        tmp_path,
        ['cut.avi 0'],
        decoder,
        data_prefix=dict(video=str(tmp_path)),
    )
    with pytest.raises(RuntimeError, match='cut.avi.* could not be read .*truncated'):
        dataset[0]


def test_several_labels(motion_tiny, tmp_path):
    lines = ['train/00000.avi 0 3', 'train/00001.avi 1']
    dataset = build(motion_tiny, tmp_path, lines, multi_class=True)
    assert dataset[0]['label'].tolist() == [1, 0, 0, 1]
