# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmaction2's ``AccMetric``, which all configs use, against scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import METRICS
from mmengine.config import Config
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score

ROOT = Path(__file__).parents[2] / 'configs'
LEAVES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ('selfy', 'ablations')
    for path in (ROOT / folder).rglob('*.py')
)


def evaluate(scores: np.ndarray, labels: np.ndarray, config: dict | None = None):
    """What the test loop does with a metric, in two batches."""
    metric = METRICS.build(config or dict(type='AccMetric'))
    samples = [
        dict(pred_score=score, gt_label=torch.tensor([label]))
        for score, label in zip(torch.from_numpy(scores), labels, strict=True)
    ]
    for batch in (samples[:3], samples[3:]):
        metric.process({}, batch)
    return metric.evaluate(len(samples))


def draw(classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are right more often than chance, for unbalanced classes."""
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.ones(classes))
    labels = np.concatenate(
        [np.arange(classes), rng.choice(classes, size=40 * classes, p=share)]
    )
    scores = rng.standard_normal((len(labels), classes))
    scores[np.arange(len(labels)), labels] += 1
    return scores, labels


@pytest.mark.parametrize('classes', [6, 48, 99])
@pytest.mark.parametrize('seed', [0, 1])
def test_agrees_with_scikit_learn(classes, seed):
    scores, labels = draw(classes, seed)
    names = np.arange(classes)
    metrics = evaluate(scores, labels)
    for k in (1, 5):
        assert metrics[f'acc/top{k}'] == pytest.approx(
            top_k_accuracy_score(labels, scores, k=k, labels=names)
        )
    assert metrics['acc/mean1'] == pytest.approx(
        balanced_accuracy_score(labels, scores.argmax(axis=1))
    )
    # Unbalanced enough that the two could not be confused.
    assert abs(metrics['acc/mean1'] - metrics['acc/top1']) > 1e-4


def test_a_class_that_neither_occurs_nor_is_predicted_does_not_count():
    scores, labels = draw(6, 0)
    scores = np.insert(scores, 2, -100, axis=1)
    labels = labels + (labels >= 2)
    assert evaluate(scores, labels)['acc/mean1'] == pytest.approx(
        balanced_accuracy_score(labels, scores.argmax(axis=1))
    )


def test_a_class_that_is_only_predicted_counts_as_0_in_mean1():
    # Here AccMetric departs from the mean over the classes that occur: a list must
    # hold each class for acc/mean1 to be what the paper calls mean class accuracy.
    scores = np.eye(3)[[0, 0, 1, 2]]
    labels = np.array([0, 0, 1, 1])
    assert balanced_accuracy_score(labels, scores.argmax(axis=1)) == 0.75  # (1 + .5)/2
    assert evaluate(scores, labels)['acc/mean1'] == 0.5  # (1 + .5 + 0) / 3


def test_ties_among_the_k_best_do_not_matter():
    scores = np.zeros((4, 8))
    scores[:, :5] = 1
    scores[0, 0] = 2
    labels = np.array([0, 0, 4, 5])
    assert evaluate(scores, labels)['acc/top5'] == 0.75
    assert top_k_accuracy_score(labels, scores, k=5, labels=np.arange(8)) == 0.75


def test_scores_that_are_all_equal_are_a_hit_for_one_class_only():
    # A network without any opinion must not look right everywhere.
    labels = np.arange(8)
    metrics = evaluate(np.ones((8, 8)), labels)
    assert metrics['acc/top1'] == 1 / 8
    assert metrics['acc/top5'] == 5 / 8
    assert metrics['acc/mean1'] == 1 / 8


@pytest.mark.parametrize('name', LEAVES)
def test_configs_report_the_metrics_of_the_paper(name):
    config = Config.fromfile(ROOT / name)
    wanted = {'acc/mean1'} if 'gym' in name else {'acc/top1', 'acc/top5'}
    scores, labels = draw(6, 0)
    for evaluator in (config.val_evaluator, config.test_evaluator):
        assert wanted <= evaluate(scores, labels, evaluator).keys()
