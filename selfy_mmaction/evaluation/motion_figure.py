# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Table and figure of two models on the motion benchmark."""

import json
from pathlib import Path

import numpy as np
from decord import VideoReader
from matplotlib.figure import Figure

from .dumps import Dump

SPLITS = {'val': 'accuracy', 'val_flicker': 'under flicker'}
"""Column title of each split."""

COLORS = ('#8c8c8c', '#c44e52')


def read_curves(work_dir: Path) -> dict[str, dict[float, float]]:
    r"""Read accuracy curves from mmengine's logs.

    A resumed run has several logs. The log of a killed run may end within a line.

    Returns:
        Accuracy by iteration for ``'train'`` (as logged, per batch) and by epoch for
        ``'val'``.

    Example:
        >>> import json, tempfile
        >>> from pathlib import Path
        >>> from selfy_mmaction.evaluation.motion_figure import read_curves
        >>> lines = [{'top1_acc': 0.5, 'iter': 20}, {'acc/top1': 0.75, 'step': 1}]
        >>> with tempfile.TemporaryDirectory() as work_dir:
        ...     path = Path(work_dir, '20260101_000000', 'vis_data', 'scalars.json')
        ...     path.parent.mkdir(parents=True)
        ...     _ = path.write_text('\n'.join(map(json.dumps, lines)))
        ...     read_curves(Path(work_dir))
        {'train': {20: 0.5}, 'val': {1: 0.75}}
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


def show_table(results: dict[str, dict[str, Dump]], names: tuple[str, ...]) -> str:
    """Format top-1 accuracies as a Markdown table, in percent.

    Args:
        results: Dumps of ``test.py`` by model and split.
        names: Class names. Their first word is the motion pattern; the accuracy on
            ``'val'`` is also shown per pattern.

    Example:
        >>> import numpy as np
        >>> from selfy_mmaction.evaluation.dumps import Dump
        >>> from selfy_mmaction.evaluation.motion_figure import show_table
        >>> right = Dump('a.pkl', np.eye(2), np.array([0, 1]), [])
        >>> half = Dump('b.pkl', np.eye(2), np.array([0, 0]), [])
        >>> results = {'TSN': dict(val=right, val_flicker=half)}
        >>> print(show_table(results, ('go_left', 'turn_left')))
        | model | accuracy | under flicker | go | turn |
        | --- | --- | --- | --- | --- |
        | TSN | 100.0 | 50.0 | 100.0 | 100.0 |
        | chance | 50.0 | 50.0 | 50.0 | 50.0 |
    """
    patterns = np.array([name.split('_')[0] for name in names])
    columns = list(dict.fromkeys(patterns))
    rows = [['model', *SPLITS.values(), *columns]]
    rows.append(['---'] * len(rows[0]))
    for model, dumps in results.items():
        hits = {
            split: dumps[split].scores.argmax(1) == dumps[split].labels
            for split in SPLITS
        }
        shown = patterns[dumps['val'].labels]
        parts = [*hits.values(), *(hits['val'][shown == each] for each in columns)]
        rows.append([model, *(f'{100 * part.mean():.1f}' for part in parts)])
    rows.append(['chance', *[f'{100 / len(names):.1f}'] * (len(rows[0]) - 1)])
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)


def draw(
    path: Path,
    curves: dict[str, dict],
    results: dict[str, dict[str, Dump]],
    data: Path,
    names: tuple[str, ...],
) -> None:
    """Draw the accuracy curves, and some clips with their predictions.

    Args:
        path: Image file to write.
        curves: Results of :func:`read_curves` by model.
        results: Dumps of ``test.py`` by model and split.
        data: Folder of the benchmark.
        names: Class names.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from selfy_mmaction.evaluation.dumps import Dump
        >>> from selfy_mmaction.evaluation.motion_figure import draw
        >>> from selfy_mmaction.motion_benchmark import class_names, make_motion
        >>> curve = dict(train={6: 0.4, 12: 0.6}, val={1: 0.5, 2: 1.0})
        >>> scores = np.tile(np.eye(4), (4, 1))  # all 16 clips are right
        >>> dump = Dump('a.pkl', scores, np.arange(16) % 4, [])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     data, path = Path(folder, 'data'), Path(folder, 'curves.png')
        ...     _ = make_motion(data, 'tiny', workers=1)
        ...     results = {name: dict(val=dump) for name in ('TSN', 'SELFY')}
        ...     curves = dict.fromkeys(results, curve)
        ...     draw(path, curves, results, data, class_names('tiny'))
        ...     path.is_file()
        True
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
    for color, (model, curve) in zip(COLORS, curves.items(), strict=True):
        if not curve['train'] or not curve['val']:
            continue  # the logs were removed
        steps_per_epoch = max(curve['train']) / max(curve['val'])
        train = np.array(sorted(curve['train'].items()))
        val = np.array(sorted(curve['val'].items()))
        smooth = np.convolve(np.pad(train[:, 1], 2, 'edge'), np.ones(5) / 5, 'valid')
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
                color=COLORS[line],
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
