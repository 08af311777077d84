# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import numpy as np
import pytest
import torch

from selfy_mmaction.datasets.class_names import (
    find_present_labels,
    fingerprint_class_names,
    labels_with_direction,
)

NAMES = [
    'Pushing something from left to right',
    'Turning the camera RIGHT, slowly',
    'Putting something upright on the table',
    "Pulling two ends of something so that it's left-over",
    'Holding something',
]


@pytest.mark.parametrize(
    ('label', 'classes'),
    [
        (2, {2}),
        (np.int64(2), {2}),
        (np.array(2), {2}),
        (torch.tensor(2), {2}),
        (-1, {-1}),  # mmaction2's label of unlabeled clips
        ([2], {2}),
        ([0, 3], {0, 3}),
        ((1, 2), {1, 2}),
        (np.array([3]), {3}),
        (torch.tensor([0, 1]), {0, 1}),
        (torch.tensor([0.0, 0, 1, 0]), {2}),
        (np.array([1.0, 0, 0, 1]), {0, 3}),
        ([0.0, 0.0, 0.0, 1.0], {3}),
        (torch.tensor([0.7, 0, 0.3, 0], dtype=torch.float16), {0, 2}),
        (torch.nn.functional.one_hot(torch.tensor(1), 4), {1}),
        (np.eye(4, dtype=int)[3], {3}),
        ([0, 1, 0, 0], {1}),
        (np.array([False, True, False, True]), {1, 3}),
        (torch.zeros(4), set()),
    ],
)
def test_labels_in_every_form(label, classes):
    assert find_present_labels(label, 4) == classes


def test_labels_of_two_classes():
    assert find_present_labels([0, 1], 2) == {0, 1}
    assert find_present_labels(np.array([0, 1]), 2) == {1}


@pytest.mark.parametrize(
    'label',
    [
        True,
        0.9,
        2.0,
        '2',
        None,
        {'action': [1]},
        [[1], [2, 3]],
        torch.eye(4),
        [0.5, 0.5],
        [np.nan, 0.0, 0.0, 1.0],
        4,
        [1, 4],
        -2,
    ],
)
def test_labels_that_cannot_be_read(label):
    with pytest.raises(
        ValueError, match='(?s)^label .*(cannot be read|is not among).* 4 cl'
    ):
        find_present_labels(label, 4)


def test_direction_needs_a_whole_word():
    assert labels_with_direction(NAMES) == {0, 1, 3}


def test_fingerprint_ignores_case_and_punctuation():
    a = ['Putting [something] onto [something]', 'Holding something']
    b = ['putting something onto something ', 'Holding [something]']
    assert fingerprint_class_names(a) == fingerprint_class_names(b)
    assert len(fingerprint_class_names(a)) == 16


@pytest.mark.parametrize(
    'other', [['b', 'a'], ['a'], ['a', 'b', 'c'], ['a b'], ['a', 'c']]
)
def test_fingerprint_depends_on_names_and_order(other):
    assert fingerprint_class_names(['a', 'b']) != fingerprint_class_names(other)
