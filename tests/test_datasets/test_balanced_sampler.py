# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from collections import Counter

import pytest
from mmaction.registry import DATA_SAMPLERS
from mmengine.dataset import DefaultSampler


class Clips:
    """Dataset with one label, or several, per clip."""

    def __init__(self, labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def get_cat_ids(self, index):
        label = self.labels[index]
        return label if isinstance(label, list) else [label]


def build(labels, **options):
    options = {**dict(shuffle=True, seed=0), **options}
    return DATA_SAMPLERS.build(
        dict(type='BalancedSampler', **options),
        default_args=dict(dataset=Clips(labels)),
    )


def drawn_labels(sampler):
    return Counter(sampler.dataset.labels[index] for index in sampler)


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('counts', [(30, 4, 10), (1, 1, 98), (5,), (2, 2), (1, 2, 2)])
def test_classes_are_drawn_equally_often(counts, seed):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    sampler = build(labels, seed=seed)
    drawn = drawn_labels(sampler)
    assert len(sampler) == len(labels) == sum(drawn.values())
    assert drawn.keys() == set(labels)
    assert max(drawn.values()) - min(drawn.values()) <= 1


def test_clips_of_a_class_are_drawn_equally_often():
    # 24 draws per class: the clips of class 1 six times each, those of class 0 at most
    # once.
    sampler = build([0] * 44 + [1] * 4)
    times = Counter(sampler)
    assert {times[index] for index in range(44)} == {0, 1}
    assert [times[index] for index in range(44, 48)] == [6] * 4


def test_all_clips_are_drawn_over_the_epochs():
    sampler = build([0] * 44 + [1] * 4)
    seen = set()
    for epoch in range(20):
        sampler.set_epoch(epoch)
        seen |= set(sampler)
    assert seen == set(range(48))


def test_more_classes_than_draws():
    # A clip with several labels counts for each of them.
    sampler = build([[0, 1, 2], [3]])
    assert set(sampler) <= {0, 1}
    assert len(list(sampler)) == 2


def test_order_depends_on_seed_and_epoch_only():
    labels = [0] * 20 + [1] * 5
    first = list(build(labels))
    assert list(build(labels)) == first
    assert list(build(labels, seed=1)) != first
    sampler = build(labels)
    sampler.set_epoch(1)
    assert list(sampler) != first
    sampler.set_epoch(0)
    assert list(sampler) == first
    assert isinstance(sampler, DefaultSampler)  # ExactResumeHook restores its seed


@pytest.mark.parametrize('round_up', [True, False])
def test_processes_share_one_order(round_up, monkeypatch):
    labels = [0] * 20 + [1] * 5
    parts = []
    for rank in range(2):
        monkeypatch.setattr(
            'mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, 2)
        )
        sampler = build(labels, round_up=round_up)
        parts.append(list(sampler))
        assert len(parts[-1]) == len(sampler)
    total = 26 if round_up else 25
    drawn = Counter(labels[index] for part in parts for index in part)
    assert sum(drawn.values()) == total
    assert abs(drawn[0] - drawn[1]) <= 1


def test_log_shows_the_classes(log):
    build([0] * 20 + [1] * 5)
    assert log == [
        'BalancedSampler draws 12.5 clips per class and epoch; the classes have 5 to '
        '20 clips.'
    ]


def test_refused_options():
    with pytest.raises(ValueError, match='shuffle=False; .*DefaultSampler for other'):
        build([0, 1], shuffle=False)
    with pytest.raises(ValueError, match='needs labels, but no clip has one'):
        build([[], []])
    with pytest.raises(TypeError, match='needs the labels, but list has no get_cat'):
        DATA_SAMPLERS.build(dict(type='BalancedSampler', dataset=[0, 1]))
