# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Decoders return the requested frames or reject the file."""

import io
import subprocess

import av
import cv2
import decord
import imageio_ffmpeg
import numpy as np
import pytest
from mmaction.registry import DATASETS, TRANSFORMS

from selfy_mmaction.datasets import video_files
from selfy_mmaction.datasets.transforms import decord_decoding
from selfy_mmaction.datasets.transforms.opencv_decoding import _OpenCVFrames

NUM_FRAMES = 48
X264 = '-c:v libx264 -g 12 -bf 2 -pix_fmt yuv420p'
X265 = (
    '-c:v libx265 -pix_fmt yuv420p -tag:v hvc1 '
    '-x265-params log-level=none:keyint=12:open-gop=1:bframes=4:b-adapt=0:scenecut=0'
)
# Name: source video, and ffmpeg's options before and after the input.
VIDEOS = {
    'plain.mp4': (None, '', X264),
    'plain.mov': (None, '', X264),
    'plain.mkv': (None, '', X264),
    'plain.webm': (None, '', '-c:v libvpx-vp9 -g 12'),
    'plain.avi': (None, '', '-c:v mjpeg -q:v 3'),
    'x265.mp4': (None, '', X265),  # open GOP
    'x265.mkv': (None, '', X265),
    'b_frames.avi': (None, '', '-c:v mpeg4 -q:v 3 -bf 2'),  # without timestamps
    'plain.wmv': (None, '', '-c:v wmv2 -q:v 3'),
    'fragments.mp4': (None, '', f'{X264} -movflags frag_keyframe+empty_moov'),
    'head_first.mp4': (None, '', f'{X264} -movflags faststart'),
    'stream.ts': (None, '', X264),
    'av1.mp4': (None, '', '-c:v libaom-av1 -cpu-used 8 -g 12'),
    'av1.webm': (None, '', '-c:v libaom-av1 -cpu-used 8 -g 12'),
    'animation.gif': (None, '', ''),
    'cut.mp4': ('plain.mp4', '-ss 1.6', '-c copy'),  # an edit list hides frames
    'turned_90.mp4': ('plain.mp4', '-display_rotation 90', '-c copy'),
    'turned_180.mp4': ('plain.mp4', '-display_rotation 180', '-c copy'),
    'turned_270.mp4': ('plain.mp4', '-display_rotation 270', '-c copy'),
    'turned_45.mp4': ('plain.mp4', '-display_rotation 45', '-c copy'),
    'turned_90.mkv': ('plain.mp4', '-display_rotation 90', '-c copy'),
}


@pytest.fixture(scope='module')
def make(tmp_path_factory):
    """Function that writes a video unless it exists and returns its path."""
    folder = tmp_path_factory.mktemp('videos')
    # Frame n has gray level 40 + 4 n, and its bottom left quarter is black.
    frames = np.empty((NUM_FRAMES, 96, 128, 3), np.uint8)
    frames[:] = 40 + 4 * np.arange(NUM_FRAMES)[:, None, None, None]
    frames[:, 48:, :64] = 0

    def make(name):
        path = folder / name
        source, before, after = VIDEOS[name]
        if not path.exists():
            raw = '-f rawvideo -pix_fmt rgb24 -s 128x96 -r 12'
            subprocess.run(
                [
                    *(imageio_ffmpeg.get_ffmpeg_exe(), '-loglevel', 'error'),
                    *(before.split() if source else raw.split()),
                    *('-i', make(source) if source else '-', *after.split(), path),
                ],
                input=frames.tobytes(),
                check=True,
            )
        return path

    return make


def decode(decoder, path, indices=None):
    """Decode frames.

    Returns:
        Number of frames of the video; number of each decoded frame; black quarter and
        size of the first one.
    """
    results = TRANSFORMS.build(dict(type=f'{decoder}Init'))(dict(filename=str(path)))
    total = results['total_frames']
    results['frame_inds'] = np.array([total - 1] if indices is None else indices)
    images = TRANSFORMS.build(dict(type=f'{decoder}Decode'))(results)['imgs']
    height, width = images[0].shape[:2]
    quarters = np.array(
        [
            [
                image[rows * height // 4, columns * width // 4].mean()
                for rows, columns in ((1, 1), (1, 3), (3, 1), (3, 3))
            ]
            for image in images
        ]
    )
    numbers = np.rint((np.sort(quarters, axis=1)[:, 2] - 40) / 4).astype(int).tolist()
    corner = ('top left', 'top right', 'bottom left', 'bottom right')
    return total, numbers, (corner[quarters[0].argmin()], (height, width))


@pytest.mark.parametrize('decoder', ['Decord', 'OpenCV', 'PyAV', 'PIMS'])
@pytest.mark.parametrize(
    'name',
    [
        'plain.mp4',
        'plain.mov',
        'plain.mkv',
        'plain.webm',
        'plain.avi',
        'x265.mp4',
        'x265.mkv',
        'b_frames.avi',
        'plain.wmv',
        'fragments.mp4',
    ],
)
def test_requested_frames_are_returned(make, name, decoder):
    indices = [31, 1, 6, 11, 11, 30, 47]
    total, numbers, view = decode(decoder, make(name), indices)
    assert total == NUM_FRAMES
    assert numbers == indices
    assert view == ('bottom left', (96, 128))


@pytest.mark.parametrize('decoder', ['Decord', 'OpenCV', 'PyAV'])
def test_reference_only_frames_are_not_counted(tmp_path, decoder):
    path = tmp_path / 'alt_ref.webm'
    source = ('-f', 'lavfi', '-i', 'testsrc=size=96x64:rate=25:duration=4')
    codec = ('-c:v', 'libvpx', '-b:v', '100k', '-g', '20')
    codec += ('-auto-alt-ref', '1', '-lag-in-frames', '16')
    for number in '12':  # only two-pass encoding stores such frames
        command = [imageio_ffmpeg.get_ffmpeg_exe(), '-y', '-loglevel', 'error', *source]
        command += [*codec, '-pass', number, '-passlogfile', tmp_path / 'log', path]
        subprocess.run(command, check=True)
    assert len(decord.VideoReader(str(path))) > 100
    capture = cv2.VideoCapture(str(path))
    shown = [capture.read()[1][..., ::-1] for _ in range(100)]
    assert not capture.read()[0]
    indices = [0, 99, 33, 50, 71]
    results = TRANSFORMS.build(dict(type=f'{decoder}Init'))(dict(filename=str(path)))
    assert results['total_frames'] == 100
    results['frame_inds'] = np.array(indices)
    images = TRANSFORMS.build(dict(type=f'{decoder}Decode'))(results)['imgs']
    for image, index in zip(images, indices, strict=True):
        assert np.abs(image.astype(int) - shown[index]).max() <= 2


@pytest.mark.parametrize('name', ['stream.ts', 'av1.mp4', 'av1.webm'])
def test_pyav_reads_videos_that_decord_cannot_read(make, name):
    indices = [31, 1, 6, 47]
    assert decode('PyAV', make(name), indices)[:2] == (NUM_FRAMES, indices)


@pytest.mark.parametrize('decoder', ['Decord', 'OpenCV', 'PyAV'])
def test_hidden_frames_are_not_counted(make, decoder):
    # At 12 frames per second, the first frame at or after 1.6 s is number 20.
    indices = [21, 1, 6, 11, 27]
    total, numbers, _ = decode(decoder, make('cut.mp4'), indices)
    assert numbers == [20 + index for index in indices]
    if decoder != 'OpenCV':  # OpenCV counts hidden frames
        assert total == NUM_FRAMES - 20


@pytest.mark.parametrize('decoder', ['Decord', 'OpenCV', 'PyAV', 'PIMS'])
@pytest.mark.parametrize(
    ('angle', 'view'),  # counterclockwise; other angles are ignored, as in players
    [
        (90, ('bottom right', (128, 96))),
        (180, ('top right', (96, 128))),
        (270, ('top left', (128, 96))),
        (45, ('bottom left', (96, 128))),
    ],
)
def test_rotated_videos_are_upright(make, decoder, angle, view):
    assert decode(decoder, make(f'turned_{angle}.mp4'))[2] == view


@pytest.mark.parametrize('decoder', ['OpenCV', 'PyAV'])
def test_rotated_mkv_is_upright_or_rejected(make, decoder):
    path = make('turned_90.mkv')
    assert decode(decoder, path)[2] == ('bottom right', (128, 96))
    with pytest.raises(ValueError, match='tagged as rotated, .*MKV; re-encode.*PyAV'):
        decode('Decord', path)


def test_efficient_mode_of_pyav_rotates_videos(make):
    results = TRANSFORMS.build(dict(type='PyAVInit'))(
        dict(filename=str(make('turned_90.mp4')))
    )
    results['frame_inds'] = np.array([0, 30])
    fast = TRANSFORMS.build(dict(type='PyAVDecode', mode='efficient'))
    assert [image.shape for image in fast(results)['imgs']] == [(128, 96, 3)] * 2


@pytest.mark.parametrize('decoder', ['Decord', 'OpenCV'])
def test_mpeg_ts_is_rejected(make, decoder):
    message = 'is an MPEG-TS, .* wrong frames; .*-c copy OUT.mp4.*SELFY_DECODER=PyAV'
    with pytest.raises(ValueError, match=message):
        decode(decoder, make('stream.ts'))


@pytest.mark.parametrize(
    ('decoder', 'name', 'what'),
    [
        ('Decord', 'av1.mp4', 'AV1 in MP4'),
        ('Decord', 'av1.webm', 'AV1 in Matroska'),
        ('Decord', 'animation.gif', 'GIF'),
        ('OpenCV', 'av1.mp4', 'AV1 in MP4'),
    ],
)
def test_unsupported_codec_is_named(make, decoder, name, what):
    dataset = build(make(name), decoder)
    message = (
        f'{name}.* could not be read .*it is {what}, which {decoder.lower()} may not '
        'support; .*SELFY_DECODER=PyAV.*ffmpeg -i IN -c:v libx264'
    )
    with pytest.raises(RuntimeError, match=f'(?i){message}'):
        dataset[0]


def build(path, decoder='Decord', **kwargs):
    ann_file = path.with_name('list.txt')
    ann_file.write_text(f'{path.name} 0\n')
    return DATASETS.build(
        dict(
            type='CheckedVideoDataset',
            ann_file=str(ann_file),
            data_prefix=dict(video=str(path.parent)),
            pipeline=[
                dict(type=f'{decoder}Init'),
                dict(type='SampleFrames', clip_len=1, num_clips=8),
                dict(type=f'{decoder}Decode'),
            ],
            **kwargs,
        )
    )


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'<!DOCTYPE html><title>Not found', 'not a video, but HTML'),
        (b'', r'it is empty \(0 bytes\)'),
        (b'version https://git-lfs.github.com/spec/v1\n', 'but Git LFS pointer'),
    ],
)
def test_files_that_are_not_videos(tmp_path, content, message):
    path = tmp_path / 'clip.mp4'
    path.write_bytes(content)
    with pytest.raises(RuntimeError, match=f'clip.mp4.*{message}'):
        build(path)[0]


def test_file_with_sound_only(make, tmp_path):
    path = tmp_path / 'sound.mp4'
    command = [imageio_ffmpeg.get_ffmpeg_exe(), '-loglevel', 'error', '-f', 'lavfi']
    subprocess.run([*command, '-i', 'sine=duration=1', path], check=True)
    for decoder in ('Decord', 'OpenCV', 'PyAV'):
        with pytest.raises(RuntimeError, match='sound.mp4.* could not be read'):
            build(path, decoder)[0]


@pytest.mark.parametrize('decoder', ['Decord', 'OpenCV', 'PyAV'])
@pytest.mark.parametrize(
    'name', ['plain.avi', 'b_frames.avi', 'plain.mkv', 'plain.webm', 'head_first.mp4']
)
def test_truncated_videos_are_named(make, tmp_path, name, decoder):
    # decord would crash on most of these AVIs.
    whole = make(name).read_bytes()
    for kept in (0.3, 0.6, 0.95):
        path = tmp_path / name
        path.write_bytes(whole[: int(kept * len(whole))])
        size = path.stat().st_size
        message = f'{name}.*is truncated: {size} of at least [0-9]+ bytes'
        with pytest.raises(RuntimeError, match=message):
            build(path, decoder)[0]


@pytest.mark.parametrize('decoder', ['Decord', 'PyAV'])
def test_fewer_frames_than_declared(make, tmp_path, decoder):
    # The file ends after 20 frames. Its mdat box has size 0: up to the end of the file.
    with av.open(str(make('head_first.mp4'))) as container:
        packet = list(container.demux(video=0))[19]
    content = bytearray(make('head_first.mp4').read_bytes()[: packet.pos + packet.size])
    start = content.index(b'mdat') - 4
    content[start : start + 4] = bytes(4)
    path = tmp_path / 'short.mp4'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='only 20 of at least 48 frames'):
        decode(decoder, path)


def test_decord_repeats_no_frames(make, monkeypatch):
    # decord finds 48 packets in this stream, but decodes fewer frames.
    monkeypatch.setattr(decord_decoding, 'reject_transport_stream', lambda *args: None)
    with pytest.raises(decord.DECORDLimitReachedError, match='duplicate frames'):
        decode('Decord', make('stream.ts'))


def test_opencv_repeats_at_most_two_frames(make):
    class Reader:
        """Container that declares too many frames."""

        def __init__(self, total):
            self.total = total

        def __len__(self):
            return self.total

        def __getitem__(self, index):
            return index if index < 10 else None

    path = str(make('plain.mp4'))
    assert _OpenCVFrames(Reader(12), path)[11] == 9
    assert _OpenCVFrames(Reader(12), path)[9] == 9
    for index in (10, 12):
        with pytest.raises(ValueError, match=f'frame {index} of 13 cannot be decoded'):
            _OpenCVFrames(Reader(13), path)[index]


@pytest.mark.parametrize(
    ('name', 'what', 'ordered'),
    [
        ('plain.mp4', 'H.264 in MP4', True),
        ('plain.mov', 'H.264 in MP4', True),
        ('x265.mp4', 'HEVC in MP4', False),
        ('fragments.mp4', 'H.264 in MP4', False),
        ('av1.mp4', 'AV1 in MP4', True),
        ('plain.mkv', 'H.264 in Matroska', False),
        ('plain.webm', 'VP9 in Matroska', True),
        ('plain.avi', 'MJPEG in AVI', True),
        ('b_frames.avi', 'MPEG-4 in AVI', True),
        ('plain.wmv', 'ASF', False),
        ('stream.ts', 'MPEG-TS', False),
        ('animation.gif', 'GIF', False),
    ],
)
def test_metadata(make, name, what, ordered):
    path = make(name)
    with path.open('rb') as file:
        assert video_files.describe(file) == what
        assert video_files.has_ordered_keyframes(file) == ordered
        assert video_files.declared_size(file) in (0, path.stat().st_size)
        is_counted = what.endswith('MP4') and name != 'fragments.mp4'
        assert video_files.declared_frames(file) == (NUM_FRAMES if is_counted else 0)
        assert not video_files.is_rotated_matroska(file)


@pytest.mark.parametrize('name', ['head_first.mp4', 'plain.webm', 'plain.avi'])
def test_metadata_of_truncated_files_raises_no_error(make, name):
    whole = make(name).read_bytes()
    for size in range(0, min(len(whole), 4000), 37):
        file = io.BytesIO(whole[:size])
        video_files.describe(file)
        video_files.has_ordered_keyframes(file)
        video_files.declared_frames(file)
        assert video_files.declared_size(file) >= 0


def test_metadata_of_damaged_files_raises_no_error(make):
    whole = make('x265.mp4').read_bytes()
    start, rng = whole.index(b'stbl'), np.random.default_rng(0)
    for _ in range(300):
        content = np.frombuffer(whole, np.uint8).copy()
        places = rng.integers(start, len(whole), 6)
        content[places] = rng.choice([0, 255, 127], 6)
        file = io.BytesIO(content.tobytes())
        video_files.describe(file)
        video_files.has_ordered_keyframes(file)
        assert video_files.declared_frames(file) >= 0
