# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Make the motion benchmark, train TSN with and without SELFY on it, show the result.

Training and testing are mmaction2's own ``train.py`` and ``test.py``, as their
commands printed here show. What is finished is not done again: run the same command
to resume.
"""

import argparse
import fcntl
import pickle
import re
import shlex
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

import torch
from mmengine.config import Config

import selfy_mmaction  # noqa: F401  lets torch read mmengine's checkpoints
from selfy_mmaction.evaluation.dumps import Dump, load_dump
from selfy_mmaction.evaluation.motion_figure import (
    SPLITS,
    draw,
    read_curves,
    show_table,
)
from selfy_mmaction.motion_benchmark import class_names, make_motion
from selfy_mmaction.run import tools_folder

ROOT = Path(__file__).resolve().parents[1]
MODELS = {'TSN-R18': 'tsn-r18', 'SELFYNet-TSN-R18': 'selfy-tsn-r18'}
PRESET = 'small'


def config_path(model: str) -> Path:
    """The config of a model on the motion benchmark."""
    (path,) = (ROOT / 'configs' / 'motion').glob(f'{MODELS[model]}-slim_*.py')
    return path


def train_command(model: str, data: Path, work_dir: Path) -> list[str]:
    """Command that trains a model, or goes on where it stopped."""
    return [
        sys.executable,
        str(tools_folder() / 'train.py'),
        str(config_path(model)),
        *('--work-dir', str(work_dir), '--seed', '0', '--resume'),
        '--cfg-options',
        *data_options('train', data / 'train.txt', data),
        *data_options('val', data / 'val.txt', data),
    ]


def test_command(
    model: str, data: Path, checkpoint: Path, split: str, dump: Path
) -> list[str]:
    """Command that tests a model on a split."""
    return [
        sys.executable,
        str(tools_folder() / 'test.py'),
        str(config_path(model)),
        str(checkpoint),
        *('--work-dir', str(dump.parent), '--dump', str(dump)),
        '--cfg-options',
        *data_options('test', data / f'{split}.txt', data),
    ]


def data_options(loader: str, annotations: Path, data: Path) -> list[str]:
    """Options that point a data loader to where the data are."""
    dataset = f'{loader}_dataloader.dataset'
    return [
        f'{dataset}.ann_file={annotations}',
        f'{dataset}.data_prefix.video={data / "videos"}',
    ]


def lock(work_dir: Path) -> TextIO:
    """Wait until no other run is at work in a folder, and keep others out.

    Returns:
        The lock, held until this process and all that inherit it have ended: where a
        demo was killed, its training may go on.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    file = (work_dir / '.lock').open('w')
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f'Waiting for the run that is at work in {work_dir} to end', flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        pass  # a file system without locks
    return file


def run_side_by_side(commands: dict[str, list[str]], logs: Path, held: TextIO) -> None:
    """Run commands at once, show their progress, keep their output.

    Args:
        commands: Command by name.
        logs: Folder of the full outputs.
        held: Lock that they inherit.
    """
    if not commands:
        return
    logs.mkdir(parents=True, exist_ok=True)
    processes: dict[str, subprocess.Popen] = {}
    with ThreadPoolExecutor(len(commands)) as pool:
        try:
            for name, command in commands.items():
                print(f'$ {shlex.join(command)}', flush=True)
                processes[name] = subprocess.Popen(
                    command,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    encoding='utf-8',
                    errors='replace',
                    pass_fds=[held.fileno()],
                )
            following = [
                pool.submit(_follow, name, process, logs / f'{name}.log')
                for name, process in processes.items()
            ]
            for each in following:
                each.result()
        except BaseException:  # an interruption, too: leave none of them at work
            for process in processes.values():
                process.terminate()
            raise
    for name, process in processes.items():
        if process.wait() != 0:
            log = logs / f'{name}.log'
            tail = '\n'.join(log.read_text(encoding='utf-8').splitlines()[-20:])
            sys.exit(f'{name} failed (exit code {process.returncode}):\n{tail}\n{log}')


def _follow(name: str, process: subprocess.Popen, log: Path) -> None:
    with process.stdout, log.open('w', encoding='utf-8') as file:
        for line in process.stdout:
            file.write(line)
            progress = re.search(r'(Epoch|Iter)\((train|val|test)\).*', line)
            if progress:
                text = re.sub(r'\s+', ' ', progress[0])
                text = re.sub(r' (data_time|memory|grad_norm|loss_cls): \S+', '', text)
                print(f'{name:>18} | {text}', flush=True)


def finished_checkpoint(work_dir: Path, epochs: int) -> Path | None:
    """The checkpoint of the last epoch; None if it is missing or damaged."""
    path = work_dir / f'epoch_{epochs}.pth'
    try:
        checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except Exception:  # whatever torch makes of a damaged file
        return None
    whole = isinstance(checkpoint, dict) and 'state_dict' in checkpoint
    return path if whole else None


def finished_dump(path: Path, checkpoint: Path, annotations: Path) -> Dump | None:
    """The predictions of a checkpoint for a split, if the test is finished.

    None if they are missing, damaged, older than the checkpoint, or of other clips
    than the list of the split.
    """
    try:
        if path.stat().st_mtime <= checkpoint.stat().st_mtime:
            return None
        dump = load_dump(path)
    except (OSError, ValueError, pickle.UnpicklingError):
        return None
    labels = [int(line.split()[1]) for line in annotations.read_text().splitlines()]
    return dump if dump.labels.tolist() == labels else None


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--data', type=Path, default=Path('data/motion'))
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/motion'))
    args = parser.parse_args()
    if re.search('[ ,]', str(args.data)):
        parser.error(
            f"--data {str(args.data)!r} has a blank or a comma, which mmaction2's "
            '--cfg-options would change; choose another folder'
        )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('terminated'))
    try:
        run_demo(args.data, args.work_dir)
    except KeyboardInterrupt:
        sys.exit('\ninterrupted; run the same command again to resume')
    except (OSError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        sys.exit(f'error: {error}')


def run_demo(data: Path, work_dir: Path) -> None:
    """Do what is not done yet, and show the results."""
    held = lock(work_dir)
    print(f'Step 1 of 4: the benchmark, preset {PRESET!r}, into {data}', flush=True)
    make_motion(data, PRESET)
    names = class_names(PRESET)
    epochs = {
        model: Config.fromfile(config_path(model)).train_cfg.max_epochs
        for model in MODELS
    }
    folders = {model: work_dir / MODELS[model] for model in MODELS}

    print('\nStep 2 of 4: training', flush=True)
    commands = {
        model: train_command(model, data, folders[model])
        for model in MODELS
        if finished_checkpoint(folders[model], epochs[model]) is None
    }
    if not commands:
        print('finished before')
    run_side_by_side(commands, work_dir / 'logs' / 'train', held)
    checkpoints = {}
    for model, folder in folders.items():
        checkpoints[model] = finished_checkpoint(folder, epochs[model])
        if checkpoints[model] is None:
            sys.exit(
                f'{model} was trained, but {folder}/epoch_{epochs[model]}.pth is '
                'missing or damaged; delete it and run the same command again'
            )

    print('\nStep 3 of 4: testing', flush=True)
    results: dict[str, dict[str, Dump]] = {model: {} for model in MODELS}
    tested = False
    for split in SPLITS:
        tests = [
            (model, checkpoints[model], folders[model] / f'{split}.pkl')
            for model in MODELS
        ]
        commands = {
            model: test_command(model, data, checkpoint, split, dump)
            for model, checkpoint, dump in tests
            if finished_dump(dump, checkpoint, data / f'{split}.txt') is None
        }
        run_side_by_side(commands, work_dir / 'logs' / split, held)
        tested = tested or bool(commands)
        for model, _, dump in tests:
            results[model][split] = load_dump(dump)
    if not tested:
        print('finished before')

    print('\nStep 4 of 4: table and picture', flush=True)
    table = show_table(results, names)
    (work_dir / 'table.md').write_text(table + '\n')
    curves = {model: read_curves(folders[model]) for model in MODELS}
    draw(work_dir / 'demo.png', curves, results, data, names)
    clips = len(results['TSN-R18']['val'].labels)
    print(f'Top-1 accuracy in percent on {clips} clips:\n')
    print(table)
    print(f'\nPicture: {work_dir / "demo.png"}')


if __name__ == '__main__':
    main()
