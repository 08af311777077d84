# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Weighted ensembles of predictions (Table 1: 8 and 16 frames, 1 and 2 clips)."""

import os
from collections.abc import Sequence
from pathlib import Path

import mmengine
import numpy as np
import torch
from mmaction.evaluation import get_weighted_score, mean_class_accuracy, top_k_accuracy
from scipy.special import softmax

from selfy_mmaction.atomic_files import replacing

from .dumps import Dump, check_same_clips


def fuse(
    dumps: Sequence[Dump],
    weights: Sequence[float] | None = None,
    apply_softmax: bool = False,
) -> np.ndarray:
    """Sum weighted scores like mmaction2's ``report_accuracy.py``.

    Args:
        dumps: Predictions of each network on the same clips.
        weights: One weight per network, from 1e-9 to 1e9. Default: None, 1 for each.
        apply_softmax: Whether to apply the softmax to the scores first. Default: False.

    Returns:
        (N, C), float64.

    Raises:
        ValueError: If the clips differ, the number or range of the weights is wrong,
            only some of the scores are probabilities, or the softmax would be applied
            to probabilities.

    Example:
        >>> import numpy as np
        >>> from selfy_mmaction.evaluation.dumps import Dump
        >>> from selfy_mmaction.evaluation.ensemble import fuse
        >>> labels, names = np.array([1]), [{}]
        >>> rgb = Dump('rgb.pkl', np.array([[0.6, 0.4]]), labels, names)
        >>> flow = Dump('flow.pkl', np.array([[0.2, 0.8]]), labels, names)
        >>> fuse([rgb, flow], weights=[2, 1])
        array([[1.4, 1.6]])
    """
    check_same_clips(list(dumps))
    weights = [1.0] * len(dumps) if weights is None else list(weights)
    if len(weights) != len(dumps):
        raise ValueError(
            f'got {len(weights)} weights for {len(dumps)} dumps, expected one per '
            f'dump: {weights}'
        )
    # Outside of this range, rounding errors would decide.
    if not all(1e-9 <= weight <= 1e9 for weight in weights):
        raise ValueError(f'weights must all be from 1e-9 to 1e9, got {weights}')
    are_probabilities = [dump.holds_probabilities for dump in dumps]
    if apply_softmax and any(are_probabilities):
        path = dumps[are_probabilities.index(True)].path
        raise ValueError(f'{path} already has probabilities; omit the softmax')
    if len(set(are_probabilities)) > 1:
        path = dumps[are_probabilities.index(False)].path
        raise ValueError(
            f'{path} does not have probabilities, but other dumps do; test it again '
            "with average_clips='prob' in the head"
        )
    scores = [dump.scores for dump in dumps]
    if apply_softmax:
        scores = [softmax(score, axis=1) for score in scores]
    return np.stack(get_weighted_score(scores, weights))


def accuracies(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Compute the accuracies of ``AccMetric``.

    Args:
        scores: (N, C).
        labels: (N,).

    Returns:
        ``'top1'``, ``'top5'`` and ``'mean1'``, from 0 to 1.

    Example:
        >>> import numpy as np
        >>> from selfy_mmaction.evaluation.ensemble import accuracies
        >>> scores = np.array([[0.7, 0.3], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9]])
        >>> found = accuracies(scores, labels=np.array([0, 0, 0, 1]))
        >>> {name: round(float(value), 2) for name, value in found.items()}
        {'top1': 0.75, 'top5': 1.0, 'mean1': 0.83}
    """
    labels = labels.tolist()
    top1, top5 = top_k_accuracy(scores, labels, (1, 5))
    return dict(top1=top1, top5=top5, mean1=mean_class_accuracy(scores, labels))


def show_table(rows: dict[str, dict[str, float]]) -> str:
    """Format :func:`accuracies` by name as a Markdown table, in percent.

    Example:
        >>> from selfy_mmaction.evaluation.ensemble import show_table
        >>> print(show_table({'8 frames': dict(top1=0.5, top5=0.75, mean1=0.4)}))
        | scores | top-1 | top-5 | mean class |
        | --- | --- | --- | --- |
        | 8 frames | 50.00 | 75.00 | 40.00 |
    """
    lines = ['| scores | top-1 | top-5 | mean class |', '| --- | --- | --- | --- |']
    for name, row in rows.items():
        cells = (f'{100 * row[key]:.2f}' for key in ('top1', 'top5', 'mean1'))
        lines.append(f'| {name} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def write_dump(path: str | os.PathLike, scores: np.ndarray, like: Dump) -> None:
    """Write predictions in the format of ``test.py --dump``, atomically.

    Args:
        path: File to write, ``.pkl`` or ``.pickle``.
        scores: (N, C).
        like: Predictions of the same clips that provide labels and names.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from selfy_mmaction.evaluation.dumps import Dump, load_dump
        >>> from selfy_mmaction.evaluation.ensemble import write_dump
        >>> like = Dump('a.pkl', np.eye(2), np.array([0, 1]), [{}, {}])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_dump(f'{folder}/both.pkl', np.eye(2), like)
        ...     load_dump(f'{folder}/both.pkl').labels
        array([0, 1])
    """
    path = Path(path)
    samples = []
    for score, label, name in zip(
        torch.from_numpy(scores).float(), like.labels.tolist(), like.names, strict=True
    ):
        samples.append(
            dict(
                pred_score=score.clone(),
                pred_label=score.argmax(dim=0, keepdim=True),
                gt_label=torch.tensor([label]),
                **name,
            )
        )
    with replacing(path) as partial:
        mmengine.dump(samples, str(partial), file_format='pkl')
