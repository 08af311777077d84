# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import itertools

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr, ttest_rel

from selfy_mmaction.evaluation.reproduction.seed_statistics import (
    paired_difference,
    rank_correlation,
    summarize,
)


def test_mean_and_deviation():
    assert summarize([]) is None
    assert summarize([3.0]) == (3.0, None, 1)
    assert summarize([1.0, 3.0]) == (2.0, pytest.approx(2**0.5), 2)


def test_difference_is_that_of_scipys_paired_t_test():
    ours, reference = {0: 1.0, 1: 3.0, 2: 2.5, 7: 50.0}, {2: 2.0, 1: 1.0, 0: 0.5}
    difference = paired_difference(ours, reference, 480)
    expected = ttest_rel([1, 3, 2.5], [0.5, 1, 2]).confidence_interval(0.95)
    assert difference == (1, pytest.approx(expected[0]), pytest.approx(expected[1]), 3)


def test_difference_needs_two_common_seeds_for_an_interval():
    assert paired_difference({0: 1.0}, {1: 1.0}, 480) is None
    assert paired_difference({0: 1.0, 1: 2.0}, {1: 5.0}, 480) == (-3, None, None, 1)


def test_equal_differences_are_not_certain():
    accuracies = np.random.default_rng(0).uniform(0, 100, (2, 100_000))
    whole_clips = accuracies.round()  # of 100 clips
    deviation = np.subtract(*whole_clips - accuracies).std()
    _, low, high, _ = paired_difference({0: 41.0, 1: 43.0}, {0: 40.0, 1: 42.0}, 100)
    half = 12.706 * deviation / 2**0.5  # the t quantile of two seeds
    assert (low, high) == pytest.approx((1 - half, 1 + half), rel=1e-2)


@pytest.mark.parametrize(
    ('ours', 'papers'),
    [
        ([1, 2, 3], [10, 20, 30]),
        ([3, 1, 2, 2], [1, 1, 5, 4]),
        ([0.3, 0.1, 0.4, 0.1, 0.5], [1, 3, 2, 5, 4]),
    ],
)
def test_rank_correlation_counts_all_orders(ours, papers):
    found = rank_correlation(ours, papers)
    for name, function in (('spearman', spearmanr), ('kendall', kendalltau)):
        value = function(ours, papers).statistic
        assert getattr(found, name) == pytest.approx(value)
        orders = [
            function(each, papers).statistic for each in itertools.permutations(ours)
        ]
        at_least = sum(each > value - 1e-9 for each in orders) / len(orders)
        assert getattr(found, f'{name}_p') == pytest.approx(at_least)


def test_rank_correlation_of_many_rows_is_repeatable():
    ours, papers = list(range(12)), [1, 0, *range(2, 12)]
    first = rank_correlation(ours, papers)
    assert first == rank_correlation(ours, papers)
    assert first.spearman_p < 0.001


@pytest.mark.parametrize(
    ('ours', 'papers'), [([], []), ([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3])]
)
def test_no_rank_correlation_without_an_order(ours, papers):
    assert rank_correlation(ours, papers) is None
