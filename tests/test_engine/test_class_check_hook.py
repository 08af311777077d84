# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from types import SimpleNamespace

import numpy as np
import pytest
from mmaction.registry import HOOKS
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset
from torch.utils.data import DataLoader, Subset


class Clips(BaseDataset):
    def __init__(self, labels, num_classes=None, pipeline=(), **kwargs):
        self.labels = labels
        self.num_classes = num_classes
        super().__init__(pipeline=list(pipeline), **kwargs)

    def load_data_list(self):
        return [dict(label=label) for label in self.labels]


class Named:
    """Transform with class names, like SelectiveFlip."""

    num_classes = 3

    def __call__(self, results):
        return results


def check(dataset, num_classes=3, when='before_test'):
    hook = HOOKS.build(dict(type='ClassCheckHook'))
    model = SimpleNamespace(cls_head=SimpleNamespace(num_classes=num_classes))
    loader = DataLoader(dataset)
    runner = SimpleNamespace(
        model=model,
        train_loop=object(),
        val_loop=None,
        train_dataloader=loader,
        test_dataloader=loader,
    )
    getattr(hook, when)(runner)


@pytest.mark.parametrize('num_classes', [2, 174])
@pytest.mark.parametrize('when', ['before_train', 'before_test'])
def test_num_classes_of_the_dataset(num_classes, when):
    match = f'head has num_classes={num_classes}, but Clips of .* num_classes=3'
    with pytest.raises(ValueError, match=match):
        check(Clips([0, 1], num_classes=3), num_classes, when)
    check(Clips([0, 1], num_classes=num_classes), num_classes, when)


@pytest.mark.parametrize('labels', [[0, 3], [[0, 1], [3]], [np.int64(3)], [0.5], ['a']])
def test_label_outside_the_classes(labels):
    with pytest.raises(ValueError, match='num_classes=3, but in Clips of .* label '):
        check(Clips(labels))


@pytest.mark.parametrize('labels', [[[0, 1, 1]], [[0.2, 0, 0.8]], [2, [0, 2]]])
def test_all_forms_of_labels(labels, log):
    check(Clips(labels))
    assert not log


@pytest.mark.parametrize(
    'wrap',
    [
        lambda dataset: RepeatDataset(dataset, 2),
        lambda dataset: ConcatDataset([Clips([0, 2]), dataset]),
        lambda dataset: Subset(RepeatDataset(dataset, 2), [0]),
    ],
)
def test_wrapped_datasets(wrap):
    with pytest.raises(ValueError, match='label 3 is not'):
        check(wrap(Clips([0, 3])))


def test_too_many_classes_trigger_a_warning(log):
    check(Clips([0, 2]))
    assert not log
    check(Clips([0, 1]), num_classes=174)
    assert 'num_classes=174, but the highest label in' in log[0]


def test_no_labels_to_compare(log):
    check(Clips([None]))
    assert 'neither num_classes nor labels' in log[0]


def test_class_names_in_the_pipeline():
    with pytest.raises(ValueError, match='num_classes=4, but Named .* has 3 class'):
        check(Clips([0, 3], num_classes=4, pipeline=[Named()]), num_classes=4)
    check(Clips([0, 2], num_classes=3, pipeline=[Named()]))


def test_model_without_a_classifier():
    hook = HOOKS.build(dict(type='ClassCheckHook'))
    loader = SimpleNamespace(dataset=Clips([0, 9]))
    hook.before_test(SimpleNamespace(model=SimpleNamespace(), test_dataloader=loader))
