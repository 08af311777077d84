# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Errors for faulty annotation files, and the policies for unreadable clips."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmaction.registry import DATASETS, TRANSFORMS
from mmcv.transforms import BaseTransform
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader, default_collate

from selfy_mmaction.run import tools_folder

CONFIG = (
    Path(__file__).parents[2]
    / 'configs/motion/tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'
)

SAMPLE = dict(type='SampleFrames', clip_len=1, frame_interval=1, num_clips=8)
PIPELINES = {
    'decord': [dict(type='DecordInit'), SAMPLE, dict(type='DecordDecode')],
    'opencv': [dict(type='OpenCVInit'), SAMPLE, dict(type='OpenCVDecode')],
    'rawframes': [SAMPLE, dict(type='RawFrameDecode')],
}


@TRANSFORMS.register_module()
class FailingTransform(BaseTransform):
    """Transform with a bug."""

    def transform(self, results):
        raise ValueError('a bug')


@TRANSFORMS.register_module()
class MisbehavingDecode(BaseTransform):
    """Decoder whose misbehavior depends on the name of the file."""

    def transform(self, results):
        name = os.path.basename(results['filename'])
        if name == 'dies.avi':
            os.abort()
        if name == 'hangs.avi':
            time.sleep(600)
        if name == 'unpicklable.avi':
            results['video_reader'] = lambda: None
        if name == 'not_installed.avi':
            raise ImportError('no such decoder')
        return results


def write_frames(folder, count=10):
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        image = np.full((24, 32, 3), 10 * number, np.uint8)
        assert cv2.imwrite(str(folder / f'img_{number:05}.jpg'), image)


@pytest.fixture(scope='session')
def frames(tmp_path_factory):
    root = tmp_path_factory.mktemp('frames')
    for name in 'abc':
        write_frames(root / name)
    return root


@pytest.fixture
def videos(motion_tiny, tmp_path):
    """A folder with three videos, 0.avi to 2.avi."""
    for name in '012':
        path = motion_tiny / 'videos' / 'train' / f'0000{name}.avi'
        (tmp_path / f'{name}.avi').write_bytes(path.read_bytes())
    return tmp_path


@pytest.fixture
def log(capfd):
    """Read the output of this process and its workers, with mmengine's log."""
    MMLogger.get_instance('captured')  # logs to the captured stream
    yield lambda: ''.join(capfd.readouterr())
    MMLogger._instance_dict.pop('captured')


def build(root, lines, reader='decord', **kwargs):
    kind = 'Rawframe' if reader == 'rawframes' else 'Video'
    ann_file = kwargs.pop('ann_file', None)
    if ann_file is None:
        ann_file = root / 'list.txt'
        ann_file.write_text(''.join(f'{line}\n' for line in lines))
    cfg = dict(
        type=f'Checked{kind}Dataset',
        ann_file=str(ann_file),
        data_prefix={'Video': dict(video=str(root)), 'Rawframe': dict(img=str(root))}[
            kind
        ],
        num_classes=4,
        pipeline=PIPELINES[reader],
    )
    return DATASETS.build({**cfg, **kwargs})


def damaged(root, name, kept=0.5):
    whole = (root / '0.avi').read_bytes()
    (root / name).write_bytes(whole[: int(kept * len(whole))])
    return name


def test_good_list_of_videos(motion_tiny):
    dataset = build(motion_tiny / 'videos', [], ann_file=motion_tiny / 'train.txt')
    assert len(dataset) == 24
    assert [info['label'] for info in dataset] == [0, 1, 2, 3] * 6
    assert len(dataset[0]['imgs']) == 8
    assert dataset[0]['imgs'][0].shape == (68, 68, 3)


def test_good_list_of_frames(frames):
    write_frames(frames / 'short', 8)
    dataset = build(frames, ['a 10 3', 'short 8 0'], 'rawframes')
    results = dataset[1]  # one frame per segment: 1 to 8
    values = [image.mean() for image in results['imgs']]
    np.testing.assert_allclose(values, np.arange(10, 90, 10), atol=2)
    assert results['label'] == 0


def test_offset_of_frames(frames):
    dataset = build(frames, ['a 2 8 3'], 'rawframes', with_offset=True)
    values = [image.mean() for image in dataset[0]['imgs']]
    np.testing.assert_allclose(values, np.arange(30, 110, 10), atol=2)
    with pytest.raises(FileNotFoundError, match='img_00011.jpg'):
        build(frames, ['a 3 8 3'], 'rawframes', with_offset=True)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('0.avi', 'expected a path and one label'),
        ('0.avi 1 2', 'expected a path and one label'),
        ('', 'expected a path and one label'),
        ('0.avi one', "integer label from 0, got 'one'"),
        ('0.avi -1', "integer label from 0, got '-1'"),
        ('0.avi 4', 'label 4, but num_classes=4 allows 0 to 3'),
    ],
)
def test_bad_line_of_a_video(videos, line, message):
    where = re.escape(f'list.txt, line 2: {line!r}')
    with pytest.raises(ValueError, match=f'{where}.*{message}'):
        build(videos, ['0.avi 0', line, '1.avi 1'])


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('a 10', 'expected folder, number of frames and one label'),
        ('a 10 1 2', 'expected folder, number of frames and one label'),
        ('', 'expected folder, number of frames and one label'),
        ('a ten 1', 'expected folder, number of frames and one label'),
        ('a 0 1', 'has 0 frames, expected at least 1'),
        ('a 10 one', "integer label from 0, got 'one'"),
        ('a 10 4', 'label 4, but num_classes=4 allows 0 to 3'),
    ],
)
def test_bad_line_of_frames(frames, line, message):
    where = re.escape(f'list.txt, line 2: {line!r}')
    with pytest.raises(ValueError, match=f'{where}.*{message}'):
        build(frames, ['a 10 0', line, 'b 10 1'], 'rawframes')


def test_missing_videos(videos):
    message = '2 of the 3 videos .*first: .*none.avi.*data_prefix'
    with pytest.raises(FileNotFoundError, match=message):
        build(videos, ['0.avi 0', 'none.avi 1', 'nowhere.avi 2'])


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('none 10 0', 'folder of .*none.*img_00010.jpg'),
        ('b 11 0', 'frame .*b.*img_00011.jpg'),
    ],
)
def test_missing_frames(frames, line, message):
    message = f'1 of the 2 videos .*first: {message}.*filename_tmpl'
    with pytest.raises(FileNotFoundError, match=message):
        build(frames, ['a 10 0', line], 'rawframes')


@pytest.mark.parametrize(
    ('content', 'options'),
    [
        (b'0.avi 3\n1.avi 1', {}),
        (b'0.avi 3\n1.avi 1\n\n \n', {}),
        (b'0.avi 3\r\n1.avi 1\r\n', {}),
        (b'\xef\xbb\xbf0.avi 3\n1.avi 1\n', {}),
        (b' 0.avi  3\n1.avi\t1 \n', {}),
        (b'0.avi, 3\n1.avi ,1\n', dict(delimiter=',')),
        (b'0.avi\t3\r\n1.avi\t1\n\n', dict(delimiter='\t')),
    ],
)
def test_accepted_list_formats(videos, content, options):
    (videos / 'written.txt').write_bytes(content)
    dataset = build(videos, [], ann_file=videos / 'written.txt', **options)
    (videos / 'plain.txt').write_text('0.avi 3\n1.avi 1\n')
    # The entries that mmaction2's dataset reads from the plain list.
    plain = build(videos, [], type='VideoDataset', ann_file=videos / 'plain.txt')
    assert dataset.load_data_list() == plain.load_data_list()
    assert [dataset[i]['label'] for i in range(2)] == [3, 1]


@pytest.mark.parametrize('with_offset', [False, True])
@pytest.mark.parametrize('multi_class', [False, True])
def test_entries_equal_those_of_mmaction2(frames, with_offset, multi_class):
    lines = ['a 0 10 3', 'b 0 10 1'] if with_offset else ['a 10 3', 'b 10 1']
    options = dict(with_offset=with_offset, multi_class=multi_class)
    dataset = build(frames, [f'\ufeff{lines[0]}', lines[1], ''], 'rawframes', **options)
    plain = build(frames, lines, 'rawframes', type='RawframeDataset', **options)
    assert dataset.load_data_list() == plain.load_data_list()


def test_names_with_spaces(videos):
    (videos / '0.avi').rename(videos / 'my clip.avi')
    dataset = build(videos, ['my clip.avi, 2'], delimiter=',')
    assert dataset[0]['label'] == 2
    for options in ({}, dict(multi_class=True)):
        message = "line 1: 'my clip.avi 2'.* contains a space, .*delimiter=','"
        with pytest.raises(ValueError, match=message):
            build(videos, ['my clip.avi 2'], **options)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('0.avi 0\nB\xe4r.avi 1\n'.encode('latin-1'), 'line 2: byte 0xe4 is not UTF-8'),
        ('0.avi 0\n'.encode('utf-16'), 'is UTF-16 or UTF-32, expected UTF-8'),
        ('0.avi 0\n'.encode('utf-16-le'), 'line 1 has a zero byte'),
        (b'\x89PNG\r\n\x1a\n', 'line 1: byte 0x89 is not UTF-8'),
    ],
)
def test_list_in_wrong_encoding(videos, content, message):
    (videos / 'list.txt').write_bytes(content)
    with pytest.raises(ValueError, match=f'list.txt.*{message}.*iconv'):
        build(videos, [], ann_file=videos / 'list.txt')


def other_spellings(folder):
    (folder / 'sub').mkdir()
    (folder / 'link.avi').symlink_to(folder / '0.avi')
    return ['0.avi', './0.avi', 'sub/../0.avi', str(folder / '0.avi'), 'link.avi']


def test_video_listed_twice(videos):
    for name in other_spellings(videos):
        lines = ['0.avi 0', '1.avi 1', f'{name} 0']
        message = re.escape(
            f"line 1: '0.avi 0' and {videos}/list.txt, line 3: '{name} 0'"
        )
        with pytest.raises(
            ValueError, match=f'listed twice: .*{message}.*allow_repeats'
        ):
            build(videos, lines)
        assert len(build(videos, lines, allow_repeats=True)) == 3


def test_video_with_two_labels(videos):
    for name in other_spellings(videos):
        lines = ['1.avi 1', '0.avi 0', f'{name} 2']
        for allow in (False, True):
            with pytest.raises(ValueError, match='two labels: .*line 2: .*line 3: '):
                build(videos, lines, allow_repeats=allow)


def test_repeated_video_with_several_labels(videos):
    options = dict(multi_class=True)
    assert len(build(videos, ['0.avi 0 2', '1.avi 2 0'], **options)) == 2
    with pytest.raises(ValueError, match='two labels'):
        build(videos, ['0.avi 0 2', '0.avi 0'], **options)
    with pytest.raises(ValueError, match='listed twice'):
        build(videos, ['0.avi 0 2', '0.avi 2 0'], **options)


def test_frame_folder_listed_twice(frames):
    with pytest.raises(ValueError, match='listed twice: .*line 1: .*line 2: '):
        build(frames, ['a 10 0', './a 10 0'], 'rawframes')
    # Different parts of a folder are not duplicates.
    lines = ['a 0 5 0', 'a 5 5 1', 'a 0 10 2']
    assert len(build(frames, lines, 'rawframes', with_offset=True)) == 3
    with pytest.raises(ValueError, match='two labels: .*line 2: .*line 4: '):
        build(frames, [*lines, 'b/../a 5 5 3'], 'rawframes', with_offset=True)


def test_more_frames_than_listed(frames):
    message = "1 of the 2 videos .* more frames .*b' has more than 9.*with_offset=True"
    with pytest.raises(ValueError, match=message):
        build(frames, ['a 10 0', 'b 9 1'], 'rawframes')
    assert len(build(frames, ['b 0 9 1'], 'rawframes', with_offset=True)) == 1


def test_frame_names_without_a_number(frames):
    for name in ('img_00010.jpg', 'img_{x}.jpg', 'img_{:s}.jpg', None):
        message = re.escape(f'filename_tmpl={name!r} must contain the frame number')
        with pytest.raises(ValueError, match=message):
            build(frames, ['a 10 0'], 'rawframes', filename_tmpl=name)


@pytest.mark.parametrize(
    'label', ['0.9', 'true', 'True', '1e0', '+1', '\u0663', '9' * 5000]
)
def test_labels_that_are_not_integers(videos, label):
    with pytest.raises(ValueError, match='list.txt, line 1: .*expected an integer'):
        build(videos, [f'0.avi {label}'], num_classes=None)


@pytest.mark.parametrize('option', [0, -1, '4', 4.0, True, [4]])
def test_invalid_number_of_classes(videos, option):
    message = 'num_classes of the dataset .*must be an integer from 1 .*, but got '
    message += re.escape(repr(option))
    with pytest.raises(ValueError, match=message):
        build(videos, ['0.avi 0'], num_classes=option)


def test_several_labels_need_the_number_of_classes(videos):
    with pytest.raises(ValueError, match='multi_class=True needs num_classes'):
        build(videos, ['0.avi 0'], num_classes=None, multi_class=True)
    assert len(build(videos, ['0.avi 0'], num_classes=np.int64(4))) == 1


@pytest.mark.parametrize('delimiter', ['', None, 3])
def test_invalid_delimiters(videos, delimiter):
    with pytest.raises(ValueError, match=f'delimiter={delimiter!r} must be the char'):
        build(videos, ['0.avi 0'], delimiter=delimiter)


def test_commas_without_delimiter_option(videos):
    with pytest.raises(ValueError, match="separated by commas, set delimiter=','"):
        build(videos, ['0.avi,0'])


def test_missing_key_of_data_prefix(videos, frames):
    message = re.escape("needs the key 'video', such as dict(video='data/folder')")
    with pytest.raises(ValueError, match=message):
        build(videos, ['0.avi 0'], data_prefix=dict(img=''))
    with pytest.raises(ValueError, match="needs the key 'img'"):
        build(frames, ['a 10 0'], 'rawframes', data_prefix=dict(video=''))


@pytest.mark.parametrize('policy', ['fail', 'skip'])
@pytest.mark.parametrize(
    'option',
    [
        *(dict(reading_timeout=value) for value in (0, -5, '60', None, True, 1e300)),
        dict(reading_timeout=float('nan')),
        dict(reading_timeout=float('inf')),
        *(dict(max_unreadable=value) for value in (-1, '3', 2.5, None, True)),
    ],
)
def test_limits_out_of_range(videos, policy, option):
    ((name, value),) = option.items()
    message = re.escape(f', but got {value!r}')
    with pytest.raises(ValueError, match=f'{name} must be .*{message}'):
        build(videos, ['0.avi 0'], on_unreadable=policy, **option)


def test_missing_and_empty_list(videos):
    with pytest.raises(FileNotFoundError, match='annotation file .*absent.txt'):
        build(videos, [], ann_file=videos / 'absent.txt')
    with pytest.raises(ValueError, match='list.txt is empty'):
        build(videos, [])


def test_several_labels(videos):
    dataset = build(videos, ['0.avi 0 3', '1.avi 1'], multi_class=True)
    assert dataset[0]['label'].tolist() == [1, 0, 0, 1]


def test_transforms_check_the_annotation(videos):
    (videos / 'classes.txt').write_text('up\ndown\n')
    flip = dict(type='SelectiveFlip', class_names=str(videos / 'classes.txt'))
    with pytest.raises(ValueError, match='2 class names, but .*num_classes=4'):
        build(videos, ['0.avi 0'], pipeline=[*PIPELINES['decord'], flip])


@pytest.mark.parametrize('reader', ['decord', 'opencv'])
@pytest.mark.parametrize('content', [b'', b'not a video' * 100])
def test_unreadable_video_is_named(videos, reader, content):
    (videos / 'bad.avi').write_bytes(content)
    dataset = build(videos, ['bad.avi 0'], reader)
    with pytest.raises(RuntimeError, match='bad.avi.* could not be read .*damaged'):
        dataset[0]


@pytest.mark.parametrize('content', [None, b'', b'not an image' * 100])
def test_unreadable_frame_is_named(frames, tmp_path, content):
    write_frames(tmp_path / 'bad')
    for path in (tmp_path / 'bad').glob('*[1-9].jpg'):  # all but the last frame
        path.unlink() if content is None else path.write_bytes(content)
    dataset = build(tmp_path, ['bad 10 0'], 'rawframes')
    with pytest.raises(RuntimeError, match='bad.* could not be read .*damaged'):
        dataset[0]


@pytest.mark.parametrize('policy', ['fail', 'skip'])
@pytest.mark.parametrize('place', [1, 3])
def test_bug_in_a_transform_is_not_an_unreadable_video(videos, policy, place):
    pipeline = list(PIPELINES['decord'])
    pipeline.insert(place, dict(type='FailingTransform'))
    dataset = build(videos, ['0.avi 0'], pipeline=pipeline, on_unreadable=policy)
    with pytest.raises((ValueError, RuntimeError), match='a bug') as caught:
        dataset[0]
    assert 'could not be read' not in str(caught.value)


def test_missing_package_is_not_an_unreadable_video(videos):
    pipeline = [dict(type='MisbehavingDecode')]
    (videos / 'not_installed.avi').touch()
    dataset = build(videos, ['not_installed.avi 0'], pipeline=pipeline)
    with pytest.raises(ImportError, match='no such decoder'):
        dataset[0]


@pytest.mark.parametrize('reader', ['decord', 'opencv'])
def test_skip_uses_the_next_readable_video(videos, log, reader):
    names = [damaged(videos, f'bad{i}.avi', 0) for i in (1, 2)]
    lines = ['0.avi 0', f'{names[0]} 1', f'{names[1]} 1', '2.avi 2']
    dataset = build(videos, lines, reader, on_unreadable='skip')
    assert [dataset[i]['label'] for i in range(4)] == [0, 2, 2, 2]
    found = [line for line in log().splitlines() if 'skipped so far' in line]
    assert len(found) == 2  # each is tried once
    assert re.search("rank 0: video '.*bad1.avi' could not be read .*1 of 4", found[0])
    assert re.search("'.*bad2.avi' .*2 of 4 skipped so far", found[1])


def test_skip_survives_truncated_videos(videos):
    kept = [0.05, 0.2, 0.4, 0.6, 0.8]
    lines = [f'{damaged(videos, f"bad{share}.avi", share)} 1' for share in kept]
    dataset = build(videos, [*lines, '0.avi 0'], on_unreadable='skip')
    for i in range(len(dataset)):
        assert len(dataset[i]['imgs']) == 8
    assert dataset[len(kept)]['label'] == 0


def test_skip_wraps_around_after_the_last_video(videos):
    lines = ['0.avi 3', f'{damaged(videos, "bad.avi", 0)} 1']
    assert build(videos, lines, on_unreadable='skip')[1]['label'] == 3


def test_skip_of_frames(frames, tmp_path):
    write_frames(tmp_path / 'bad', 2)
    write_frames(tmp_path / 'good')
    (tmp_path / 'bad' / 'img_00001.jpg').write_bytes(b'no image')
    lines = ['bad 2 1', 'good 10 2']
    dataset = build(tmp_path, lines, 'rawframes', on_unreadable='skip')
    assert dataset[0]['label'] == 2


@pytest.mark.parametrize('num_workers', [0, 2])
def test_every_epoch_has_the_same_number_of_clips(videos, num_workers, log):
    bad = [damaged(videos, f'bad{i}.avi', 0) for i in (1, 2)]
    lines = ['0.avi 0', f'{bad[0]} 1', '1.avi 2', f'{bad[1]} 1', '2.avi 3']
    pipeline = [*PIPELINES['decord'], dict(type='FormatShape', input_format='NCHW')]
    dataset = build(videos, lines, pipeline=pipeline, on_unreadable='skip')
    loader = DataLoader(
        dataset,
        batch_size=1,
        num_workers=num_workers,
        collate_fn=lambda batch: default_collate([item['label'] for item in batch]),
    )
    for _ in range(2):
        labels = torch.cat(list(loader)).tolist()
        assert labels == [0, 2, 2, 3, 3]
    # The second epoch has new workers, but remembers the unreadable clips.
    assert dataset._unreadable.tolist() == [False, True, False, True, False]
    output = log()
    assert output.count('could not be read') == 2
    assert '2 of 5 skipped so far' in output


def test_same_draws_in_a_child_process(videos):
    lines = [f'{name}.avi 0' for name in '012']
    drawn = {}
    for policy in ('fail', 'skip'):
        dataset = build(videos, lines, on_unreadable=policy)
        np.random.seed(0)
        random.seed(0)
        drawn[policy] = [dataset[i]['frame_inds'].tolist() for i in (0, 1, 2, 0)]
    assert drawn['fail'] == drawn['skip']
    assert drawn['skip'][0] != drawn['skip'][3]


@pytest.mark.parametrize(
    ('name', 'message'),
    [('dies.avi', 'decoder crashed'), ('hangs.avi', 'not read after 0.5 s')],
)
def test_decoder_that_dies_or_hangs_is_skipped(videos, log, name, message):
    (videos / name).touch()
    dataset = build(
        videos,
        [f'{name} 0', '1.avi 1'],
        pipeline=[dict(type='MisbehavingDecode')],
        on_unreadable='skip',
        reading_timeout=0.5,
    )
    assert dataset[0]['label'] == 1
    assert message in log()


def test_crash_after_an_earlier_clip_does_not_skip_this_one(videos, log):
    # A damaged clip may crash the process only after it was read.
    dataset = build(videos, ['0.avi 0', '1.avi 1'], on_unreadable='skip')
    assert dataset[0]['label'] == 0
    os.kill(dataset._process._child, signal.SIGKILL)
    assert dataset[1]['label'] == 1
    assert 'skipped' not in log()


def test_result_that_cannot_be_sent_is_not_an_unreadable_video(videos):
    (videos / 'unpicklable.avi').touch()
    dataset = build(
        videos,
        ['unpicklable.avi 0', '1.avi 1'],
        pipeline=[dict(type='MisbehavingDecode')],
        on_unreadable='skip',
    )
    with pytest.raises(
        RuntimeError, match=r'a transform failed (.|\n)*(pickle|local object)'
    ):
        dataset[0]


def test_too_many_unreadable_videos_stop_the_training(videos):
    lines = [f'{damaged(videos, f"bad{i}.avi", 0)} 0' for i in range(4)] + ['0.avi 0']
    dataset = build(videos, lines, on_unreadable='skip', max_unreadable=2)
    message = '3 videos .*more than max_unreadable=2, .*bad0.avi.*bad2.avi.*last error'
    with pytest.raises(RuntimeError, match=message):
        dataset[0]


def test_only_unreadable_videos(videos):
    dataset = build(
        videos, [f'{damaged(videos, "bad.avi", 0)} 0'], on_unreadable='skip'
    )
    with pytest.raises(RuntimeError, match='no video of .*list.txt.* can be read'):
        dataset[0]


@pytest.mark.slow
def test_distributed_training_skips_unreadable_videos(motion_tiny, tmp_path):
    data = tmp_path / 'data'
    shutil.copytree(motion_tiny, data)
    for i in range(0, 24, 3):  # alternately empty and truncated
        path = data / 'videos' / 'train' / f'{i:05}.avi'
        path.write_bytes(path.read_bytes()[: 15000 * (i % 2)])
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'torch.distributed.run'),
            *('--standalone', '--nproc_per_node=2'),
            *(tools_folder() / 'train.py', CONFIG, '--launcher', 'pytorch'),
            *('--work-dir', tmp_path / 'work', '--cfg-options'),
            'randomness.seed=0',
            'train_cfg.max_epochs=1',
            'train_dataloader.dataset.on_unreadable=skip',
            *(
                f'{loader}_dataloader.dataset.{option}'
                for loader in ('train', 'val')
                for option in (
                    f'ann_file={data}/{loader}.txt',
                    f'data_prefix.video={data}/videos',
                )
            ),
        ],
        env={**os.environ, 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=240,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-3000:]
    for rank in (0, 1):  # both log their skipped videos
        assert re.search(rf'rank {rank}: video .* instead; .* so far', output)
    assert 'Epoch(val) [1]' in output


def test_invalid_policies(videos):
    with pytest.raises(ValueError, match="on_unreadable must be 'fail' or .* 'ignore'"):
        build(videos, ['0.avi 0'], on_unreadable='ignore')
    with pytest.raises(ValueError, match='test_mode=True would test on other clips'):
        build(videos, ['0.avi 0'], on_unreadable='skip', test_mode=True)
