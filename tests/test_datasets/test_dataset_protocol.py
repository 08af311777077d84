# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Our datasets follow mmengine's dataset protocol."""

import copy
import pickle

import numpy as np
import pytest
import torch
from mmaction.registry import DATASETS, TRANSFORMS
from mmcv.transforms import BaseTransform
from torch.utils.data import DataLoader

LABELS = [0, 1, 1, 1, 2, 1]
SAMPLE = dict(type='SampleFrames', clip_len=1, frame_interval=1, num_clips=8)


@TRANSFORMS.register_module()
class ReadByNameDecode(BaseTransform):
    """Decoder of empty files that fails on names with "bad"."""

    def transform(self, results):
        if 'bad' in results['filename']:
            raise ValueError('damaged')
        return results


@TRANSFORMS.register_module()
class DropLabel(BaseTransform):
    """Transform that returns None for clips with a label."""

    def __init__(self, label):
        self.label = label

    def transform(self, results):
        return None if results['label'] == self.label else results


@pytest.fixture
def folder(tmp_path):
    """Six clips; 2 and 4 cannot be read."""
    names = [f'{"bad" if i in (2, 4) else "good"}{i}.mp4' for i in range(6)]
    for name in names:
        (tmp_path / name).touch()
    lines = [f'{name} {label}\n' for name, label in zip(names, LABELS, strict=True)]
    (tmp_path / 'list.txt').write_text(''.join(lines))
    (tmp_path / 'several.txt').write_text(
        ''.join(f'{name} {i % 3} 3\n' for i, name in enumerate(names))
    )
    return tmp_path


def config(folder, ann_file='list.txt', **kwargs):
    return {
        **dict(
            type='CheckedVideoDataset',
            ann_file=str(folder / ann_file),
            data_prefix=dict(video=str(folder)),
            num_classes=4,
            pipeline=[dict(type='ReadByNameDecode')],
            on_unreadable='skip',
        ),
        **kwargs,
    }


def build(folder, *args, **kwargs):
    return DATASETS.build(config(folder, *args, **kwargs))


def numbers(dataset):
    """Return the clip numbers of all indices, after skipping."""
    return [int(dataset[i]['filename'][-5]) for i in range(len(dataset))]


def test_index_out_of_range(folder):
    for policy in ('fail', 'skip'):
        dataset = build(folder, on_unreadable=policy, indices=2)
        assert [item['label'] for item in dataset] == [0, 1]
        assert dataset[-1]['label'] == 1
        for index in (2, -3):
            with pytest.raises(IndexError):
                dataset[index]


@pytest.mark.parametrize('serialize_data', [True, False])
@pytest.mark.parametrize(
    ('indices', 'kept', 'skipped_to'),
    [
        (3, [0, 1, 2], [0, 1, 0]),
        (-2, [4, 5], [5, 5]),
        ([5, 2, 0], [5, 2, 0], [5, 0, 0]),
        ((1, 2, 3), [1, 2, 3], [1, 3, 3]),
    ],
)
@pytest.mark.parametrize('way', ['indices', 'get_subset', 'get_subset_'])
def test_subsets(folder, way, indices, kept, skipped_to, serialize_data):
    if way == 'indices':
        dataset = build(folder, indices=indices, serialize_data=serialize_data)
    else:
        whole = dataset = build(folder, serialize_data=serialize_data)
        assert numbers(whole) == [0, 1, 3, 3, 5, 5]
        subset = getattr(whole, way)(indices)
        if way == 'get_subset':
            dataset = subset
            assert numbers(whole) == [0, 1, 3, 3, 5, 5]
    assert len(dataset) == len(kept)
    paths = [dataset.get_data_info(i)['filename'] for i in range(len(dataset))]
    assert [int(path[-5]) for path in paths] == kept
    # Subsets remember clips that were skipped before.
    if way != 'indices':
        assert dataset._unreadable.tolist() == [number in (2, 4) for number in kept]
    assert numbers(dataset) == skipped_to
    assert dataset._unreadable.tolist() == [number in (2, 4) for number in kept]
    assert dataset._unreadable.is_shared()


def test_subsets_do_not_share_state(folder):
    dataset = build(folder)
    first, second = dataset.get_subset(3), dataset.get_subset(3)
    assert first.pipeline is not second.pipeline


def test_subset_of_a_test_dataset(folder):
    dataset = build(folder, on_unreadable='fail', test_mode=True)
    assert numbers(dataset.get_subset([0, 1, 5])) == [0, 1, 5]
    with pytest.raises(RuntimeError, match='bad2.mp4.* could not be read'):
        dataset.get_subset([2])[0]


def test_lazy_initialization(folder):
    dataset = build(folder, lazy_init=True, ann_file='absent.txt')
    with pytest.raises(FileNotFoundError, match='absent.txt'):
        dataset.full_init()
    assert numbers(build(folder, lazy_init=True)) == [0, 1, 3, 3, 5, 5]
    assert build(folder, lazy_init=True).get_cat_ids(4) == [2]
    assert build(folder, lazy_init=True).prepare_data(3)['label'] == 1
    lazy = build(folder, lazy_init=True)
    lazy.get_subset_([1, 4])
    assert numbers(lazy) == [1, 1]


def test_class_names_in_the_metainfo(folder):
    dataset = build(folder, metainfo=dict(classes=('a', 'b', 'c', 'd')))
    assert dataset.metainfo == dict(classes=('a', 'b', 'c', 'd'))
    assert dataset.get_subset(2).metainfo == dataset.metainfo


@pytest.mark.parametrize('policy', ['fail', 'skip'])
@pytest.mark.parametrize('place', [0, 1])
def test_clips_that_a_transform_drops(folder, policy, place):
    pipeline = [dict(type='ReadByNameDecode')]
    pipeline.insert(place, dict(type='DropLabel', label=1))
    options = dict(pipeline=pipeline, on_unreadable=policy, indices=[0, 1, 3, 5])
    dataset = build(folder, max_refetch=100, **options)
    assert dataset[1]['label'] == 0  # the only other label
    with pytest.raises(Exception, match='Cannot find valid image after 0'):
        build(folder, max_refetch=0, **options)[1]


def test_filtered_clips_are_not_counted(folder):
    cls = DATASETS.get('CheckedVideoDataset')

    class Filtered(cls):
        def filter_data(self):
            return [info for info in self.data_list if info['label'] == 1]

    options = config(folder)
    del options['type']
    dataset = Filtered(**options)
    assert numbers(dataset) == [1, 3, 3, 5]
    assert dataset._unreadable.tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    'copied', [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies(folder, copied):
    dataset = build(folder)
    numbers(dataset)
    copies = copied(dataset)
    assert copies._unreadable.tolist() == dataset._unreadable.tolist()
    assert copies._unreadable.is_shared()
    copies._unreadable[0] = True
    assert not dataset._unreadable[0]
    assert numbers(copies) == [1, 1, 3, 3, 5, 5]


def take_number(batch):
    return int(batch[0]['filename'][-5])


@pytest.mark.parametrize(('start', 'num_workers'), [('fork', 2), ('spawn', 1)])
def test_workers_share_unreadable_clips(folder, start, num_workers):
    dataset = build(folder)
    loader = DataLoader(
        dataset,
        num_workers=num_workers,
        collate_fn=take_number,
        multiprocessing_context=start,
        worker_init_fn=register,
    )
    assert list(loader) == [0, 1, 3, 3, 5, 5]
    assert dataset._unreadable.tolist() == [i in (2, 4) for i in range(6)]


def register(worker):
    import selfy_mmaction  # noqa: F401


def test_replaced_pipeline_is_used(folder):
    # Hooks that change the augmentation replace the pipeline.
    dataset = build(folder)
    assert numbers(dataset)[2] == 3
    dataset.pipeline = type(dataset.pipeline)([dict(type='DropLabel', label=9)])
    dataset._unreadable.zero_()
    assert numbers(dataset) == [0, 1, 2, 3, 4, 5]


def test_labels_of_a_clip(folder):
    dataset = build(folder)
    assert [dataset.get_cat_ids(i) for i in range(6)] == [[label] for label in LABELS]
    several = build(folder, 'several.txt', multi_class=True)
    assert [several.get_cat_ids(i) for i in (0, 4)] == [[0, 3], [1, 3]]
    assert several.get_data_info(4)['label'].tolist() == [0, 1, 0, 1]


def test_class_balanced_dataset(folder):
    # Label 1 has 4 of 6 clips, the other labels have one each. For the latter,
    # r(c) = max(1, sqrt(t / f(c))) is sqrt(0.5 * 6) = 1.7: their clips are repeated.
    options = config(folder, on_unreadable='fail')
    balanced = DATASETS.build(
        dict(type='ClassBalancedDataset', dataset=options, oversample_thr=0.5)
    )
    assert balanced.repeat_indices == [0, 0, 1, 2, 3, 4, 4, 5]
    several = DATASETS.build(
        dict(
            type='ClassBalancedDataset',
            dataset=config(folder, 'several.txt', multi_class=True),
            oversample_thr=0.4,
        )
    )
    assert several.repeat_indices == [i for i in range(6) for _ in range(2)]


def test_repeat_and_concat_datasets(folder):
    repeated = DATASETS.build(
        dict(type='RepeatDataset', times=2, dataset=config(folder))
    )
    assert numbers(repeated) == [0, 1, 3, 3, 5, 5] * 2
    joined = DATASETS.build(
        dict(
            type='ConcatDataset',
            datasets=[config(folder, indices=2), config(folder, indices=[4, 5])],
        )
    )
    assert numbers(joined) == [0, 1, 5, 5]


def test_repeated_augmentation_of_mmaction2(motion_tiny):
    # RepeatAugDataset calls the reading transforms itself.
    dataset = DATASETS.build(
        dict(
            type='RepeatAugDataset',
            ann_file=str(motion_tiny / 'train.txt'),
            data_prefix=dict(video=str(motion_tiny / 'videos')),
            num_repeats=2,
            pipeline=[dict(type='DecordInit'), SAMPLE, dict(type='DecordDecode')],
        )
    )
    assert [np.shape(item['imgs']) for item in dataset[0]] == [(8, 68, 68, 3)] * 2


def test_selective_flip_of_several_labels(folder):
    (folder / 'classes.txt').write_text('Moving left\nUp\nDown\nOpening\n')
    flip = dict(
        type='SelectiveFlip', class_names=str(folder / 'classes.txt'), flip_ratio=1
    )
    dataset = build(folder, 'several.txt', multi_class=True, pipeline=[flip])
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    for index, kept in ((0, True), (1, False), (3, True), (5, False)):
        info = dataset.get_data_info(index)
        assert isinstance(info['label'], torch.Tensor)
        info.update(imgs=[image.copy()], img_shape=(2, 2))
        out = dataset.pipeline(info)['imgs'][0]
        np.testing.assert_array_equal(out, image if kept else image[:, ::-1])
