# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Statistics of few seeds and few rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import permutation_test, rankdata, t

CONFIDENCE = 0.95
# With fewer rows, no order is better than chance at any usual level.
_FEWEST_ROWS = 3
_RESAMPLES = 9999
# Standard deviation of the difference of two numbers that were rounded to integers.
_ROUNDING = 6**-0.5


class Summary(NamedTuple):
    """Mean over seeds.

    Attributes:
        mean: Mean.
        deviation: Standard deviation of a seed (n - 1 degrees of freedom); None for one
            seed.
        seeds: Number of seeds.
    """

    mean: float
    deviation: float | None
    seeds: int


class Difference(NamedTuple):
    """Mean of paired differences.

    Attributes:
        mean: Mean.
        low: Lower end of the interval; None for one pair.
        high: Its upper end.
        seeds: Number of pairs.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int


class RankCorrelation(NamedTuple):
    """Agreement of two orders of the same rows.

    Attributes:
        spearman: Spearman's rho.
        spearman_p: Probability that rows in random order agree at least as well.
        kendall: Kendall's tau-b.
        kendall_p: Probability, as above.
        rows: Number of rows.
    """

    spearman: float
    spearman_p: float
    kendall: float
    kendall_p: float
    rows: int


def summarize(values: Sequence[float]) -> Summary | None:
    """Summarize the values of seeds; None if there are none."""
    if not values:
        return None
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Summary(float(np.mean(values)), deviation, len(values))


def paired_difference(
    accuracies: Mapping[int, float], reference: Mapping[int, float], clips: int
) -> Difference | None:
    """Compare accuracies with those of a reference, seed by seed.

    The interval is Student's t interval for the mean of the differences. Their standard
    deviation counts at least as that of rounding both accuracies to whole clips: two
    seeds that happen to give the same difference do not make it certain.

    Args:
        accuracies: Percent by seed.
        reference: Percent by seed.
        clips: Number of clips that the accuracies were measured on.

    Returns:
        The mean of accuracies minus reference; None if they have no seed in common.
    """
    seeds = sorted(accuracies.keys() & reference.keys())
    summary = summarize([accuracies[seed] - reference[seed] for seed in seeds])
    if summary is None:
        return None
    mean, deviation, count = summary
    if deviation is None:
        return Difference(mean, None, None, count)
    deviation = max(deviation, 100 / clips * _ROUNDING)
    half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * deviation / count**0.5
    return Difference(mean, mean - half, mean + half, count)


def rank_correlation(
    ours: Sequence[float], papers: Sequence[float]
) -> RankCorrelation | None:
    """Compare two orders of rows.

    The p values are one-sided and from permutations: all of them up to 7 rows, else a
    random sample of 9999, which is the same in each call. They need no assumption about
    the number of rows or ties; with 3 rows, none is below 1/6.

    Args:
        ours: Value of each row.
        papers: Other value of each row.

    Returns:
        The correlations; None for fewer than 3 rows, or if all values are equal.
    """
    one, two = np.array(ours, float), np.array(papers, float)
    if len(one) < _FEWEST_ROWS or np.ptp(one) == 0 or np.ptp(two) == 0:
        return None
    spearman, spearman_p = _permute(_centered_ranks(one), _centered_ranks(two))
    kendall, kendall_p = _permute(one, two, _signs)
    return RankCorrelation(spearman, spearman_p, kendall, kendall_p, len(one))


def _centered_ranks(values: np.ndarray) -> np.ndarray:
    return rankdata(values) - (len(values) + 1) / 2


def _signs(values: np.ndarray) -> np.ndarray:
    """Return the sign of each pair's difference; their product counts pairs."""
    first, second = np.triu_indices(values.shape[-1], 1)
    return np.sign(values[..., first] - values[..., second])


def _permute(
    one: np.ndarray,
    two: np.ndarray,
    terms: Callable[[np.ndarray], np.ndarray] = lambda values: values,
) -> tuple[float, float]:
    """Correlate terms of two series, and permute one of them.

    Spearman's rho is the correlation of ranks, Kendall's tau-b that of signs of pairs,
    both about 0.
    """
    fixed = terms(two)
    scale = np.linalg.norm(fixed) * np.linalg.norm(terms(one))

    def statistic(values: np.ndarray, axis: int = -1) -> np.ndarray:
        return (terms(np.moveaxis(values, axis, -1)) * fixed).sum(-1) / scale

    test = permutation_test(
        (one,),
        statistic,
        permutation_type='pairings',
        vectorized=True,
        n_resamples=_RESAMPLES,
        alternative='greater',
        random_state=np.random.default_rng(0),
    )
    return float(test.statistic), float(test.pvalue)
