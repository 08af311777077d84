# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""tools/ensemble.py, compared with mmaction2's ``report_accuracy.py``."""

import re
from pathlib import Path

import mmengine
import numpy as np
import pytest
import torch
from mmaction.registry import METRICS
from mmengine.config import Config

from selfy_mmaction.evaluation.dumps import load_dump
from selfy_mmaction.run import tools_folder

TOOL = Path(__file__).parents[2] / 'tools' / 'ensemble.py'
REPORT = tools_folder() / 'analysis_tools' / 'report_accuracy.py'


def write(path: Path, seed: int, labels=None, softmax: bool = True) -> Path:
    """Dump random scores of 60 clips and 12 classes that favor the correct class."""
    labels = np.arange(60) % 12 if labels is None else labels
    scores = np.random.default_rng(seed).standard_normal((len(labels), 12))
    scores[np.arange(len(labels)), labels] += 1
    scores = torch.tensor(scores, dtype=torch.float32)
    scores = scores.softmax(dim=1) if softmax else scores
    metric = METRICS.build(dict(type='DumpResults', out_file_path=str(path)))
    samples = [
        dict(pred_score=score, gt_label=torch.tensor([label]))
        for score, label in zip(scores, labels, strict=True)
    ]
    metric.process({}, samples)
    metric.evaluate(len(samples))
    return path


@pytest.fixture
def dumps(tmp_path) -> list[Path]:
    return [write(tmp_path / f'{seed}.pkl', seed) for seed in range(3)]


def row(output: str, name: str) -> list[float]:
    """Parse top-1, top-5 and mean class accuracy from a row of our table."""
    (cells,) = re.findall(rf'^\| {re.escape(str(name))} \| (.*) \|$', output, re.M)
    return [float(cell) for cell in cells.split(' | ')]


def reported(output: str) -> list[float]:
    """Parse the same from mmaction2's report, converted to percent."""
    names = ('Top 1 Accuracy', 'Top 5 Accuracy', 'Mean Class Accuracy')
    return [
        100 * float(re.search(rf'^{name}: (\S+)$', output, re.M)[1]) for name in names
    ]


@pytest.mark.parametrize('weights', [None, (1, 1, 1), (1, 2.5, 0.3), (1e-3, 1e-3, 1)])
def test_same_accuracies_as_report_accuracy(run, dumps, weights):
    theirs = run(
        '--preds', *dumps, '--coefficients', *(weights or (1, 1, 1)), tool=REPORT
    )
    ours = run(*dumps, *(('--weights', *weights) if weights else ()))
    assert row(ours, 'ensemble') == pytest.approx(reported(theirs), abs=0.006)


def test_accuracies_of_each_dump(run, dumps):
    ours = run(*dumps)
    assert 'on 60 clips' in ours
    rows = []
    for dump in dumps:
        theirs = run('--preds', dump, '--coefficients', 1, tool=REPORT)
        rows.append(row(ours, dump))
        assert rows[-1] == pytest.approx(reported(theirs), abs=0.006)
    assert len({*map(tuple, rows)}) == 3
    assert row(ours, 'ensemble')[0] > max(top1 for top1, *_ in rows)


def test_softmax_as_in_report_accuracy(run, tmp_path):
    logits = [write(tmp_path / f'{seed}.pkl', seed, softmax=False) for seed in range(3)]
    figures = []
    for flags in ((), ('--apply-softmax',)):
        theirs = run('--preds', *logits, '--coefficients', 1, 2, 3, *flags, tool=REPORT)
        ours = run(*logits, '--weights', 1, 2, 3, *flags)
        figures.append(row(ours, 'ensemble'))
        assert figures[-1] == pytest.approx(reported(theirs), abs=0.006)
    assert figures[0] != figures[1]


def test_out_is_a_dump_of_the_weighted_mean(run, dumps, tmp_path):
    out = tmp_path / 'new' / 'both.pkl'
    ours = run(*dumps[:2], '--weights', 3, 1, '--out', out)
    fused, one, two = (load_dump(path) for path in (out, *dumps[:2]))
    np.testing.assert_allclose(
        fused.scores, 0.75 * one.scores + 0.25 * two.scores, rtol=1e-5
    )
    assert fused.holds_probabilities
    theirs = run('--preds', out, '--coefficients', 1, tool=REPORT)
    assert row(ours, 'ensemble') == pytest.approx(reported(theirs), abs=0.006)
    assert {'pred_score', 'pred_label', 'gt_label'} == mmengine.load(out)[0].keys()
    assert [path.name for path in out.parent.iterdir()] == ['both.pkl']


def test_dumps_of_different_clips_are_rejected(refused, dumps, tmp_path):
    labels = np.arange(60) % 12
    labels[[7, 9]] = labels[[9, 7]]
    other = write(tmp_path / 'other.pkl', 5, labels)
    out = tmp_path / 'both.pkl'
    message = refused(dumps[0], other, '--out', out)
    assert 'other.pkl do not have the same clips: clip 7 has label 7 and 9' in message
    assert not out.exists()


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('--weights', 1), '1 weights for 2 dumps'),
        (('--weights', 1, 0), 'must all be from 1e-9 to 1e9'),
        (('--weights', 1, -1), 'must all be from 1e-9 to 1e9'),
        (('--weights', 1, 'nan'), 'must all be from 1e-9 to 1e9'),
        (('--weights', 1, 'inf'), 'must all be from 1e-9 to 1e9'),
        (('--weights', 1, '1e-300'), 'must all be from 1e-9 to 1e9'),
        (('--weights', 1, 'one'), "invalid float value: 'one'"),
        (('{folder}/../{folder.name}/0.pkl',), 'duplicate dump'),
        (('--out', '{folder}/folder.pkl'), 'folder.pkl'),
        (('--apply-softmax',), '0.pkl already has probabilities'),
        (('--out', 'both.txt'), 'must end in .pkl or .pickle'),
        (('--out', '{folder}/0.pkl'), 'would overwrite an input dump'),
    ],
)
def test_invalid_arguments(refused, dumps, tmp_path, args, message):
    before = dumps[0].read_bytes()
    (tmp_path / 'folder.pkl').mkdir()
    args = [str(arg).format(folder=tmp_path) for arg in args]
    assert message in refused(*dumps[:2], *args)
    assert dumps[0].read_bytes() == before


def test_logits_and_probabilities_cannot_be_mixed(refused, dumps, tmp_path):
    logits = write(tmp_path / 'logits.pkl', 5, softmax=False)
    message = refused(dumps[0], logits)
    assert 'logits.pkl does not have probabilities, but other dumps do' in message


def named(path: Path, order: list[int]) -> Path:
    """Dump scores of named clips of one class."""
    scores = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    samples = [
        dict(pred_score=scores[i], gt_label=torch.tensor([0]), filename=f'{i}.avi')
        for i in order
    ]
    mmengine.dump(samples, str(path))
    return path


def test_different_clip_order_is_rejected(refused, tmp_path):
    one, two = named(tmp_path / '1.pkl', [0, 1]), named(tmp_path / '2.pkl', [1, 0])
    assert "clip 0 is '0.avi' and '1.avi'" in refused(one, two)


DATASETS = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'


@pytest.mark.parametrize('path', DATASETS.glob('*.py'), ids=lambda path: path.stem)
def test_configs_dump_clip_names(path):
    config = Config.fromfile(path)
    for loader in (config.val_dataloader, config.test_dataloader):
        assert 'filename' in loader.dataset.pipeline[-1]['meta_keys']


def test_dumps_without_names_trigger_a_warning(capsys, run_script, tmp_path):
    files = [write(tmp_path / f'{seed}.pkl', seed) for seed in range(2)]
    run_script(TOOL, *files)
    warning = capsys.readouterr().err
    assert f'{files[0]}, {files[1]}: no clip names' in warning
    files = [named(tmp_path / f'{name}.pkl', [0, 1]) for name in 'ab']
    run_script(TOOL, *files)
    assert 'no names' not in capsys.readouterr().err


def test_missing_dump(refused, tmp_path):
    assert 'absent.pkl' in refused(tmp_path / 'absent.pkl')
