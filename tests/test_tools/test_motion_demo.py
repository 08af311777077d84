# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The parts of the demo besides mmaction2's tools."""

import os
import pickle
import runpy
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

TOOL = Path(__file__).parents[2] / 'tools' / 'motion_demo.py'


@pytest.fixture(scope='module')
def demo() -> dict:
    return runpy.run_path(str(TOOL))


def test_training_is_finished_only_with_an_intact_last_checkpoint(demo, tmp_path):
    finished = demo['finished_checkpoint']
    path = tmp_path / 'epoch_6.pth'
    assert finished(tmp_path, 6) is None
    torch.save(dict(state_dict={}), tmp_path / 'epoch_5.pth')
    assert finished(tmp_path, 6) is None
    torch.save(dict(state_dict=dict(weight=torch.zeros(99)), meta={}), path)
    assert finished(tmp_path, 6) == path
    # mmengine may have been killed before or while it wrote last_checkpoint.
    (tmp_path / 'last_checkpoint').touch()
    assert finished(tmp_path, 6) == path
    whole = path.read_bytes()
    for content in (b'', whole[:300], whole[:-30], b'text' * 99, pickle.dumps([7])):
        path.write_bytes(content)
        assert finished(tmp_path, 6) is None, content[:9]


class _Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_test_is_finished_only_with_an_intact_dump_of_the_clips(demo, tmp_path):
    path, clips, checkpoint = (tmp_path / name for name in ('val.pkl', 'val.txt', 'c'))
    checkpoint.touch()
    clips.write_text('a.avi 1\nb.avi 0\n')

    def finished(content: bytes | list, older: bool = False):
        if isinstance(content, list):
            content = pickle.dumps(
                [
                    dict(pred_score=torch.ones(4) / 4, gt_label=torch.tensor([label]))
                    for label in content
                ]
            )
        path.write_bytes(content)
        stamp = checkpoint.stat().st_mtime + (-9 if older else 9)
        os.utime(path, (stamp, stamp))
        return demo['finished_dump'](path, checkpoint, clips)

    assert demo['finished_dump'](path, checkpoint, clips) is None
    assert finished([1, 0]).labels.tolist() == [1, 0]
    whole = path.read_bytes()
    assert finished([1, 0], older=True) is None
    assert finished([0, 1]) is None
    assert finished([1]) is None
    for content in (b'', whole[: len(whole) // 2], whole[:-1], b'text'):
        assert finished(content) is None
    target = tmp_path / 'made_by_the_pickle'
    assert finished(pickle.dumps([_Payload(target)])) is None
    assert not target.exists()


def test_commands_run_in_parallel_and_may_print_any_bytes(demo, tmp_path, capfd):
    program = "import sys; sys.stdout.buffer.write(b'Epoch(val) \\xff' + b'x' * 99999)"
    with demo['lock'](tmp_path) as held:
        commands = {name: [sys.executable, '-c', program] for name in 'ab'}
        demo['run_side_by_side'](commands, tmp_path / 'logs', held)
    assert capfd.readouterr().out.count('| Epoch(val) \N{REPLACEMENT CHARACTER}x') == 2
    assert (tmp_path / 'logs' / 'b.log').stat().st_size > 99999


def test_failed_command_is_reported_with_its_last_lines(demo, tmp_path):
    program = "print('the reason'); raise SystemExit(3)"
    with demo['lock'](tmp_path) as held:
        commands = dict(SELFY=[sys.executable, '-c', program])
        with pytest.raises(SystemExit, match=r'SELFY failed .*3\):\nthe reason'):
            demo['run_side_by_side'](commands, tmp_path / 'logs', held)


def test_commands_end_if_their_output_cannot_be_saved(demo, tmp_path):
    (tmp_path / 'logs' / 'a.log').mkdir(parents=True)
    endless = "while True: print('x' * 99)"
    with demo['lock'](tmp_path) as held:
        commands = dict(a=[sys.executable, '-c', endless])
        with pytest.raises(OSError, match='a.log'):
            demo['run_side_by_side'](commands, tmp_path / 'logs', held)


def test_run_waits_for_commands_of_a_killed_run(demo, tmp_path, capfd):
    program = (
        'import pathlib, time\n'
        "print('Epoch(val) started', flush=True)\n"
        f'while not pathlib.Path({str(tmp_path / "flag")!r}).exists(): time.sleep(0.05)'
    )
    commands = dict(child=[sys.executable, '-c', program])
    printed = ''

    def wait_for(text: str) -> None:
        nonlocal printed
        end = time.monotonic() + 60
        while text not in printed:
            assert time.monotonic() < end, f'{text!r} not in {printed!r}'
            time.sleep(0.05)
            printed += capfd.readouterr().out

    with ThreadPoolExecutor() as pool:
        held = demo['lock'](tmp_path)
        first = pool.submit(demo['run_side_by_side'], commands, tmp_path, held)
        wait_for('started')
        held.close()  # like the end of the process
        second = pool.submit(demo['lock'], tmp_path)
        wait_for('Waiting for another run in')
        assert not second.done()
        (tmp_path / 'flag').touch()
        second.result(timeout=60).close()
        first.result()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--work-dir', 'file/there'], "Not a directory: 'file/there'"),
        (['--data', 'file'], 'file is not a folder'),
    ],
)
def test_errors_are_reported(demo, options, message, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['motion_demo.py', *options])
    monkeypatch.setattr(signal, 'signal', lambda *_: None)
    with pytest.raises(SystemExit, match=f'error: .*{message}'):
        demo['main']()


@pytest.mark.parametrize('folder', ['my data', 'a,b'])
def test_folder_that_cfg_options_cannot_pass_on_is_rejected(
    demo, folder, monkeypatch, capsys
):
    monkeypatch.setattr(sys, 'argv', ['motion_demo.py', '--data', folder])
    with pytest.raises(SystemExit):
        demo['main']()
    assert f"--data '{folder}' contains a space or a comma" in capsys.readouterr().err
