# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmaction2's ``AccMetric``, which all configs use, agrees with scikit-learn."""

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
    """Evaluate a metric on two batches, like the test loop."""
    metric = METRICS.build(config or dict(type='AccMetric'))
    samples = [
        dict(pred_score=score, gt_label=torch.tensor([label]))
        for score, label in zip(torch.from_numpy(scores), labels, strict=True)
    ]
    for batch in (samples[:3], samples[3:]):
        metric.process({}, batch)
    return metric.evaluate(len(samples))


def draw(classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw scores above chance level for unbalanced classes."""
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
    # The classes are unbalanced enough to tell both metrics apart.
    assert abs(metrics['acc/mean1'] - metrics['acc/top1']) > 1e-4


def test_mean1_ignores_classes_that_are_neither_true_nor_predicted():
    scores, labels = draw(6, 0)
    scores = np.insert(scores, 2, -100, axis=1)
    labels = labels + (labels >= 2)
    assert evaluate(scores, labels)['acc/mean1'] == pytest.approx(
        balanced_accuracy_score(labels, scores.argmax(axis=1))
    )


def test_mean1_counts_classes_that_are_only_predicted_as_0():
    # AccMetric differs here from the mean over the true classes. acc/mean1 is the
    # paper's mean class accuracy only if the list has clips of every class.
    scores = np.eye(3)[[0, 0, 1, 2]]
    labels = np.array([0, 0, 1, 1])
    assert balanced_accuracy_score(labels, scores.argmax(axis=1)) == 0.75  # (1 + .5)/2
    assert evaluate(scores, labels)['acc/mean1'] == 0.5  # (1 + .5 + 0) / 3


def test_ties_among_the_top_k():
    scores = np.zeros((4, 8))
    scores[:, :5] = 1
    scores[0, 0] = 2
    labels = np.array([0, 0, 4, 5])
    assert evaluate(scores, labels)['acc/top5'] == 0.75
    assert top_k_accuracy_score(labels, scores, k=5, labels=np.arange(8)) == 0.75


def test_equal_scores_predict_only_one_class():
    # Constant scores must not count as correct for every class.
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
