# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Make the motion benchmark, train TSN with and without SELFY on it, show the result.

Training and testing are mmaction2's own ``train.py`` and ``test.py``, as their
commands printed here show. What is finished is not done again: run the same command
to resume.
"""

import argparse
import fcntl
import json
import pickle
import re
import shlex
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from decord import VideoReader
from matplotlib.figure import Figure
from mmengine.config import Config

import selfy_mmaction  # noqa: F401  lets torch read mmengine's checkpoints
from selfy_mmaction.evaluation.dumps import Dump, load_dump
from selfy_mmaction.evaluation.ensemble import accuracies
from selfy_mmaction.motion_benchmark import class_names, make_motion
from selfy_mmaction.run import tools_folder

ROOT = Path(__file__).resolve().parents[1]
MODELS = {'TSN-R18': 'tsn-r18', 'SELFYNet-TSN-R18': 'selfy-tsn-r18'}
COLORS = {'TSN-R18': '#8c8c8c', 'SELFYNet-TSN-R18': '#c44e52'}
SPLITS = {'val': 'accuracy', 'val_flicker': 'under flicker'}
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

    Args:
        work_dir: The folder; created if need be.

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

    Raises:
        OSError: The output cannot be written.
        SystemExit: A command failed; its last lines are shown.
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
    """The checkpoint of the last epoch, if training is finished.

    Args:
        work_dir: Work directory of the training.
        epochs: Number of epochs of the schedule.

    Returns:
        The checkpoint. None if it is missing or damaged.
    """
    path = work_dir / f'epoch_{epochs}.pth'
    try:
        checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except Exception:  # whatever torch makes of a damaged file
        return None
    whole = isinstance(checkpoint, dict) and 'state_dict' in checkpoint
    return path if whole else None


def finished_dump(path: Path, checkpoint: Path, annotations: Path) -> Dump | None:
    """The predictions of a checkpoint for a split, if the test is finished.

    Args:
        path: What ``test.py`` wrote.
        checkpoint: The checkpoint.
        annotations: List of the split.

    Returns:
        The predictions. None if they are missing, damaged, older than the checkpoint,
        or of other clips.
    """
    try:
        if path.stat().st_mtime <= checkpoint.stat().st_mtime:
            return None
        dump = load_dump(path)
    except (OSError, ValueError, pickle.UnpicklingError):
        return None
    labels = [int(line.split()[1]) for line in annotations.read_text().splitlines()]
    return dump if dump.labels.tolist() == labels else None


def read_curves(work_dir: Path) -> dict[str, dict[float, float]]:
    """Accuracy over epochs from the logs that mmengine writes.

    Args:
        work_dir: Work directory; runs that were resumed have several logs, of which
            those that were killed may end within a line.

    Returns:
        Accuracy by iteration for 'train' (as logged, per batch), by epoch for 'val'.
    """
    curves = {'train': {}, 'val': {}}
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in path.read_text(encoding='utf-8', errors='replace').splitlines():
            try:
                record = json.loads(line)
                if 'acc/top1' in record:
                    curves['val'][record['step']] = record['acc/top1']
                elif 'top1_acc' in record:
                    curves['train'][record['iter']] = record['top1_acc']
            except (ValueError, TypeError, KeyError):
                continue
    return curves


def accuracy_by_pattern(dump: Dump, names: tuple[str, ...]) -> dict[str, float]:
    """Top-1 accuracy of the classes of each pattern of motion, in percent."""
    hits: dict[str, list[bool]] = {}
    for scores, label in zip(dump.scores, dump.labels, strict=True):
        pattern = names[label].split('_')[0]
        hits.setdefault(pattern, []).append(scores.argmax() == label)
    return {pattern: 100 * np.mean(hit) for pattern, hit in hits.items()}


def show_table(results: dict[str, dict[str, Dump]], names: tuple[str, ...]) -> str:
    """The table of the README, as Markdown."""
    patterns = list(dict.fromkeys(name.split('_')[0] for name in names))
    head = ['model', *SPLITS.values(), *patterns]
    rows = [head, ['---'] * len(head)]
    for model, by_split in results.items():
        by_pattern = accuracy_by_pattern(by_split['val'], names)
        values = [
            100 * accuracies(by_split[split].scores, by_split[split].labels)['top1']
            for split in SPLITS
        ]
        values += [by_pattern[pattern] for pattern in patterns]
        rows.append([model, *(f'{value:.1f}' for value in values)])
    rows.append(['chance', *[f'{100 / len(names):.1f}'] * (len(head) - 1)])
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)


def draw(
    path: Path,
    curves: dict[str, dict],
    results: dict[str, dict[str, Dump]],
    data: Path,
    names: tuple[str, ...],
) -> None:
    """Draw the accuracy curves and some clips with the predictions.

    Args:
        path: Picture to write.
        curves: What :func:`read_curves` returns, by model.
        results: Dumps of ``test.py``, by model and split.
        data: Folder of the benchmark.
        names: Class names.
    """
    clips = (data / 'val.txt').read_text().splitlines()
    labels = [int(clip.split()[1]) for clip in clips]
    shown = [
        labels.index(label)
        for label, name in enumerate(names)
        if name.endswith(('left', 'up'))
    ]
    figure = Figure(figsize=(11, 6), layout='constrained')
    left, right = figure.subfigures(1, 2, width_ratios=(4, 7))

    axes = left.subplots()
    for model, curve in curves.items():
        if not curve['train'] or not curve['val']:
            continue  # the logs were removed
        steps_per_epoch = max(curve['train']) / max(curve['val'])
        train = np.array(sorted(curve['train'].items()))
        val = np.array(sorted(curve['val'].items()))
        smooth = np.convolve(np.pad(train[:, 1], 2, 'edge'), np.ones(5) / 5, 'valid')
        color = COLORS[model]
        axes.plot(train[:, 0] / steps_per_epoch, 100 * smooth, ':', color=color)
        axes.plot(val[:, 0], 100 * val[:, 1], 'o-', color=color, label=model)
    chance = 100 / len(names)
    axes.axhline(chance, color='black', linewidth=0.8, linestyle='--')
    axes.text(0.05, chance + 1.5, 'chance', fontsize=8)
    axes.set(
        xlabel='epoch',
        ylabel='top-1 accuracy (%)',
        ylim=(0, 101),
        title='validation (dots) and training (dotted)',
    )
    axes.title.set_fontsize(9)
    axes.legend(loc='center right', fontsize=8)

    rows = right.subplots(len(shown), 1)
    for axes, index in zip(rows, shown, strict=True):
        frames = VideoReader(str(data / 'videos' / clips[index].split()[0]))
        strip = frames.get_batch(range(1, len(frames), 3)).asnumpy()
        axes.imshow(np.concatenate(list(strip), axis=1))
        axes.axis('off')
        axes.set_title(f'true: {names[labels[index]]}', fontsize=9, loc='left')
        x = strip.shape[2] * len(strip)
        for line, (model, by_split) in enumerate(results.items()):
            predicted = int(by_split['val'].scores[index].argmax())
            right_or_wrong = 'right' if predicted == labels[index] else 'wrong'
            axes.text(
                x - (1 - line) * 0.42 * x,
                -5,
                f'{model}: {names[predicted]} ({right_or_wrong})',
                fontsize=7.5,
                ha='right',
                color=COLORS[model],
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


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
    """Do what is not done yet, and show the results.

    Args:
        data: Folder of the benchmark.
        work_dir: Folder of all results.

    Raises:
        OSError: A file cannot be read or written.
        RuntimeError: The benchmark was changed.
        SystemExit: Training or a test failed.
    """
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
