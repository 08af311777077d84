# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""tools/live.py with the network in this package."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from selfy_mmaction.checkpoints import SAMPLE_CLIP
from selfy_mmaction.inference import ClassProbability, Predictor
from selfy_mmaction.live import display, reader
from selfy_mmaction.live.frame_queue import Frame
from selfy_mmaction.live.session import LiveResult
from selfy_mmaction.live.sources import VideoSource

TOOL = Path(__file__).parents[2] / 'tools' / 'live.py'


@pytest.fixture(autouse=True)
def _kept_signals():
    """The tool sets handlers in this process."""
    before = [(n, signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM)]
    yield
    for number, handler in before:
        signal.signal(number, handler)


@pytest.fixture
def live(run_script, capsys, monkeypatch):
    """Run the tool; return its exit code, lines and messages."""
    # The level is that of the whole process.
    monkeypatch.setattr(cv2.utils.logging, 'setLogLevel', lambda level: level)

    def run(*args):
        with pytest.raises(SystemExit) as exit_:
            run_script(TOOL, *args, '--device', 'cpu')
        printed = capsys.readouterr()
        lines = [json.loads(line) for line in printed.out.splitlines()]
        return exit_.value.code, lines, printed.err

    return run


@pytest.fixture(scope='module')
def long_video(tmp_path_factory) -> Path:
    """A video of 100 s, 10 frames per second."""
    path = tmp_path_factory.mktemp('video') / 'a läng video.avi'
    size = (72, 68)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, size)
    rng = np.random.default_rng(0)
    for _ in range(1000):
        writer.write(rng.integers(0, 255, (68, 72, 3), np.uint8))
    writer.release()
    return path


def test_video(live, tmp_path):
    classes = tmp_path / 'classes.txt'
    names = [f'Klasse ü "{index}" 飛ぶ' for index in range(12)]
    classes.write_text('\n'.join(names), encoding='utf-8')
    options = ('--top-k', 3, '--classes', classes)
    code, lines, messages = live(SAMPLE_CLIP, *options)
    assert code == 0
    (line,) = lines  # 8 frames at 4 per second are one clip, and the whole video
    expected = Predictor(device='cpu', classes=names, top_k=3)
    (expected,) = expected.predict(SAMPLE_CLIP)
    # predict takes other frames: the middle of each eighth.
    assert line['top'][0]['name'] == expected.top[0].name
    assert [each['name'] in names for each in line['top']] == [True] * 3
    assert (line['time'], line['frame'], line['dropped']) == (1.75, 7, 0)
    assert '8 frames, 0 dropped, 1 results, 0 resets, 0 reconnects' in messages
    assert 'network: median' in messages
    assert 'end to end: median' in messages
    assert 'only the motions of the motion benchmark' in messages
    assert 'rate: 4 frames per second' in messages
    assert 'mode: window' in messages


def test_options_of_the_rate(live, long_video):
    code, lines, messages = live(
        *(long_video, '--clip-seconds', 40, '--stride', 4, '--top-k', 99),
        *('--mode', 'exact'),
    )
    assert code == 0
    # 20 frames, the first result with the third, then each fourth.
    assert [line['time'] for line in lines] == [10, 30, 50, 70, 90]
    assert {len(line['top']) for line in lines} == {12}
    assert 'rate: 0.2 frames per second (as chosen)' in messages


def test_source_slower_than_the_network(live):
    code, lines, messages = live(SAMPLE_CLIP, '--fps', 30, '--mode', 'exact')
    assert (code, len(lines)) == (0, 22)
    assert 'fewer frames per second than the network expects' in messages


def test_ip_camera_that_comes_back(live, ip_camera, monkeypatch):
    # Longer than the tool waits for a frame, so that it sees the failure.
    monkeypatch.setattr(reader, '_PAUSES', (1.0,))
    url = ip_camera(30)
    stop_after(4)
    code, lines, messages = live(url, '--fps', 20, '--timeout', 5, '--mode', 'exact')
    assert code == 0  # a signal is the normal end of a camera
    kinds = [line['event'] for line in lines]
    assert 'reset' in kinds
    assert 'result' in kinds[kinds.index('reset') :]
    assert 'live' in messages
    assert 'the source failed; it is opened again' in messages
    assert 'came back after' in messages
    assert 'network: median' in messages


def stop_after(seconds: float, number: int = signal.SIGINT) -> None:
    """Send a signal to this process when the tool waits for it."""

    def send() -> None:
        default = signal.getsignal(number)
        while signal.getsignal(number) is default:  # until the tool is ready
            time.sleep(0.05)
        time.sleep(seconds)
        os.kill(os.getpid(), number)

    threading.Thread(target=send, daemon=True).start()


@pytest.mark.parametrize(
    ('number', 'expected'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_signal_ends_a_video(live, long_video, number, expected):
    stop_after(0.5, number)
    code, lines, messages = live(long_video, '--realtime', '--fps', 10)
    assert code == expected
    assert lines[-1]['time'] < 90
    assert 'network: median' in messages


def test_lost_camera(live, ip_camera, monkeypatch):
    monkeypatch.setattr(reader, '_PAUSES', (0.05,))
    url = ip_camera(10)
    open_, opened = VideoSource.open, []

    def once(source):
        opened.append(source)
        open_(source)
        if len(opened) > 1:
            source.close()  # it answers, but sends nothing

    monkeypatch.setattr(VideoSource, 'open', once)
    code, _, messages = live(url, '--fps', 20, '--reconnect', 0.5)
    assert code == 1
    assert f'error: {url} failed and did not come back within 0.5 s' in messages
    assert 'frames, 0 dropped' in messages


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['none.mp4'], "source 'none.mp4' is neither a video, nor the index"),
        (['{folder}'], 'is a folder'),
        (['{text}'], 'cannot be opened: OpenCV cannot read it'),
        (['97'], 'camera 97 cannot be opened'),
        (['http://127.0.0.1:9/'], 'http://127.0.0.1:9/ cannot be opened: check the'),
        (['{clip}', '--fps', '0'], 'fps is 0'),
        (['{clip}', '--fps', '4', '--clip-seconds', '2'], 'give one of them'),
        (['{clip}', '--reconnect', '-1'], 'reconnect is -1'),
        (['{clip}', '--max-gap', '0'], 'max_gap is 0'),
        (['{clip}', '--timeout', '0'], 'timeout is 0'),
        (['{clip}', '--queue', '0'], 'queue must be an integer from 1'),
        (['{clip}', '--top-k', '0'], 'top_k must be an integer from 1'),
        (['{clip}', '--stride', '0'], 'stride must be an integer from 1'),
        (['{clip}', '--mode', 'clip'], "invalid choice: 'clip'"),
        (['{clip}', 'config.py'], 'config needs a checkpoint'),
        (['{clip}', 'a.py', 'b.pth'], "checkpoint 'b.pth' does not exist"),
        (['{clip}', '--classes', 'none.txt'], "'none.txt' do not exist"),
    ],
)
def test_wrong_arguments(live, tmp_path, arguments, message):
    text = tmp_path / 'text.mp4'
    text.write_text('text')
    paths = dict(clip=SAMPLE_CLIP, folder=tmp_path, text=text)
    code, lines, messages = live(*(each.format(**paths) for each in arguments))
    assert (code, lines) == (2, [])
    assert message in messages


def start(*args: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, TOOL, *map(str, args), '--device', 'cpu'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Lines of JSON are in UTF-8 anyway.
        env=dict(os.environ, PYTHONIOENCODING='ascii'),
    )


def test_closed_pipe(long_video, tmp_path):
    classes = tmp_path / 'classes.txt'
    classes.write_text('\n'.join(f'ü {index}' for index in range(12)), 'utf-8')
    process = start(long_video, '--classes', classes)
    line = json.loads(process.stdout.readline().decode())
    assert line['top'][0]['name'].startswith('ü ')
    process.stdout.close()
    messages = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(30) == 1
    assert 'standard output is closed' in messages
    assert 'network: median' in messages
    assert 'Traceback' not in messages
    assert 'Exception' not in messages


def test_signal_ends_a_camera(ip_camera):
    process = start(ip_camera(100_000), '--fps', 20)
    assert json.loads(process.stdout.readline())['event'] == 'result'
    process.send_signal(signal.SIGTERM)
    output, messages = process.communicate(timeout=30)
    assert process.returncode == 0
    assert all(json.loads(line) for line in output.splitlines())
    assert 'network: median' in messages.decode()
    assert 'Traceback' not in messages.decode()


@pytest.mark.skipif(sys.platform != 'linux', reason='removes the screen of Linux')
def test_no_screen(live, monkeypatch):
    for name in ('DISPLAY', 'WAYLAND_DISPLAY'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('QT_QPA_PLATFORM', 'xcb')
    code, _, messages = live(SAMPLE_CLIP, '--show')
    assert code == 2
    assert '--show: OpenCV cannot open a window' in messages


def test_window(live, monkeypatch):
    shown, keys = [], iter([255, 255, 255, ord('q')])
    monkeypatch.setattr(display, 'check_window', lambda: None)
    monkeypatch.setattr(cv2, 'namedWindow', lambda *args: None)
    monkeypatch.setattr(cv2, 'destroyAllWindows', lambda: shown.append('closed'))
    monkeypatch.setattr(cv2, 'imshow', lambda title, image: shown.append(image))
    monkeypatch.setattr(cv2, 'waitKey', lambda delay: next(keys))
    monkeypatch.setattr(cv2, 'getWindowProperty', lambda *args: 1.0)
    code, lines, _ = live(SAMPLE_CLIP, '--show', '--mode', 'exact')
    assert code == 0
    assert shown.pop() == 'closed'
    assert len(shown) == len(lines) > 0
    assert len(lines) < 6  # the q ended it
    height, width, channels = shown[0].shape
    assert (height, width, channels) == (544, 544, 3)


def test_text_on_frames(monkeypatch):
    image = np.zeros((68, 68, 3), np.uint8)
    result = LiveResult(Frame(0, 12.3, 0.0, image), np.ones(1), 0.01, 0.02, 7)
    font = display.ImageFont.truetype(display.findfont('DejaVu Sans'), 18)
    picture = display.draw_lines(image, ['läuft'], font)
    assert picture[:30, :80].max() == 255
    assert picture[40:].max() == 0
    monkeypatch.setenv('COLUMNS', '40')
    line = display.terminal_line(result, ClassProbability(0, 'läuft', 0.5))
    assert line.rstrip() == '\r    12.3 s   50% läuft  20 ms  7 dropped'[:40]
    assert len(line) == 40
