# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Generate the motion benchmark, train TSN with and without SELFY, show the results.

Training and testing run mmaction2's own ``train.py`` and ``test.py``; the commands are
printed. Finished parts are skipped: run the same command again to resume.
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

from mmengine.config import Config

import selfy_mmaction  # noqa: F401  lets torch read mmengine's checkpoints
from selfy_mmaction.evaluation.dumps import Dump, load_dump
from selfy_mmaction.evaluation.motion_figure import (
    SPLITS,
    draw,
    read_curves,
    show_table,
)
from selfy_mmaction.evaluation.reproduction.commands import is_checkpoint
from selfy_mmaction.motion_benchmark import class_names, make_motion
from selfy_mmaction.run import tools_folder

ROOT = Path(__file__).resolve().parents[1]
MODELS = {'TSN-R18': 'tsn-r18', 'SELFYNet-TSN-R18': 'selfy-tsn-r18'}
PRESET = 'small'


def config_path(model: str) -> Path:
    """Return the motion benchmark config of a model."""
    (path,) = (ROOT / 'configs' / 'motion').glob(f'{MODELS[model]}-slim_*-9e_*.py')
    return path


def train_command(model: str, data: Path, work_dir: Path) -> list[str]:
    """Return the command that trains a model or resumes its training."""
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
    """Return the command that tests a model on a split."""
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
    """Return the options that point a data loader to the generated data."""
    dataset = f'{loader}_dataloader.dataset'
    return [
        f'{dataset}.ann_file={annotations}',
        f'{dataset}.data_prefix.video={data / "videos"}',
    ]


def lock(work_dir: Path) -> TextIO:
    """Lock a work directory, waiting for other runs to end first.

    Returns:
        The lock. It is held until this process and all processes that inherit it have
        ended, because training continues when the demo is killed.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    file = (work_dir / '.lock').open('w')
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f'Waiting for another run in {work_dir} to end', flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        pass  # the file system does not support locks
    return file


def run_side_by_side(commands: dict[str, list[str]], logs: Path, held: TextIO) -> None:
    """Run commands in parallel, show their progress and save their output.

    Args:
        commands: Commands by name.
        logs: Folder of the full outputs.
        held: Lock that the commands inherit.

    Raises:
        SystemExit: If a command fails.
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
        except BaseException:  # including interruptions: leave no process running
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
    """Return the checkpoint of the last epoch, or None if it is missing or damaged."""
    path = work_dir / f'epoch_{epochs}.pth'
    return path if is_checkpoint(path) else None


def finished_dump(path: Path, checkpoint: Path, annotations: Path) -> Dump | None:
    """Return the predictions of a checkpoint for a split if the test is finished.

    Returns:
        The dump, or None if it is missing, damaged, older than the checkpoint, or does
        not match the annotation list of the split.
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
    parser.add_argument(
        '--data',
        type=Path,
        default=Path('data/motion'),
        help='folder of the generated clips (default: %(default)s)',
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/motion'),
        help='folder of the checkpoints and results (default: %(default)s)',
    )
    args = parser.parse_args()
    if re.search('[ ,]', str(args.data)):
        parser.error(
            f"--data {str(args.data)!r} contains a space or a comma, which mmaction2's "
            '--cfg-options cannot pass on; choose another folder'
        )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('terminated'))
    try:
        run_demo(args.data, args.work_dir)
    except KeyboardInterrupt:
        sys.exit('\ninterrupted; run the same command again to resume')
    except (OSError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        sys.exit(f'error: {error}')


def run_demo(data: Path, work_dir: Path) -> None:
    """Run the unfinished parts and show the results."""
    held = lock(work_dir)
    print(f'Step 1 of 4: benchmark with preset {PRESET!r} in {data}', flush=True)
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
        print('already finished')
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
        print('already finished')

    print('\nStep 4 of 4: table and figure', flush=True)
    table = show_table(results, names)
    (work_dir / 'table.md').write_text(table + '\n')
    curves = {model: read_curves(folders[model]) for model in MODELS}
    draw(work_dir / 'demo.png', curves, results, data, names)
    clips = len(results['TSN-R18']['val'].labels)
    print(f'Top-1 accuracy in percent on {clips} clips:\n')
    print(table)
    print(f'\nFigure: {work_dir / "demo.png"}')


if __name__ == '__main__':
    main()
