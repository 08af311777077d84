# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from types import SimpleNamespace

import numpy as np
import pytest
from mmaction.registry import HOOKS
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset
from mmengine.runner import EpochBasedTrainLoop
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


def check(dataset, num_classes=3, when='before_test', hook=None, class_names=None):
    hook = hook or HOOKS.build(dict(type='ClassCheckHook'))
    head = SimpleNamespace(num_classes=num_classes, class_names=class_names)
    model = SimpleNamespace(cls_head=head)
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


def named(*names):
    labels = range(len(names))
    return Clips(labels, num_classes=len(names), metainfo=dict(classes=names))


def load(hook, names, data=None):
    """Load a checkpoint, for a training on the given data or, without, for a test."""
    runner = SimpleNamespace(_load_from='a.pth', _resume=False, _train_loop=dict())
    if data is not None:
        runner._train_loop = object.__new__(EpochBasedTrainLoop)
        runner.train_dataloader = SimpleNamespace(dataset=data)
    meta = dict(dataset_meta=dict(classes=names))
    hook.after_load_checkpoint(runner, dict(meta=meta))


def test_order_of_the_classes_of_head_and_data():
    check(named('a', 'b', 'c'), class_names=('a', 'b', 'c'))
    match = "of Clips of .* and of the head differ: label 1 is 'c' here and 'b' there"
    with pytest.raises(ValueError, match=match):
        check(named('a', 'c', 'b'), class_names=('a', 'b', 'c'))
    with pytest.raises(ValueError, match='2 classes here, 3 there'):
        check(named('a', 'b'), class_names=('a', 'b', 'c'))


def test_order_of_the_classes_of_two_datasets():
    hook = HOOKS.build(dict(type='ClassCheckHook'))
    check(named('a', 'b', 'c'), hook=hook)
    with pytest.raises(ValueError, match='the classes of Clips .* and of Clips'):
        check(named('b', 'a', 'c'), hook=hook)


@pytest.mark.parametrize('kind', [tuple, list])
def test_order_of_the_classes_of_checkpoint_and_test_data(kind):
    hook = HOOKS.build(dict(type='ClassCheckHook'))
    load(hook, kind('abc'))
    check(named('a', 'b', 'c'), hook=hook)
    match = "and of the checkpoint a.pth differ: label 0 is 'b' here and 'a' there"
    with pytest.raises(ValueError, match=match):
        check(named('b', 'a', 'c'), hook=hook)


def test_training_may_start_from_other_classes(log):
    hook = HOOKS.build(dict(type='ClassCheckHook'))
    data = named('b', 'a', 'c')
    load(hook, tuple('bac'), data)
    assert not log
    load(hook, tuple('abc'), data)
    assert "a.pth was trained on other classes (label 0 is 'b' here" in log[0]
    check(data, hook=hook, when='before_train')


@pytest.mark.parametrize('meta', [None, {}, dict(dataset_meta=None), dict(classes=1)])
def test_checkpoints_without_class_names(meta):
    hook = HOOKS.build(dict(type='ClassCheckHook'))
    hook.after_load_checkpoint(SimpleNamespace(_load_from='a.pth'), dict(meta=meta))
    check(named('a', 'b', 'c'), hook=hook)
