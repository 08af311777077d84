# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Datasets whose classes are those of a class file."""

import json

import pytest
from mmaction.registry import DATASETS, TRANSFORMS
from mmengine.dataset import RepeatDataset

from selfy_mmaction.datasets.class_names import fingerprint_class_names

NAMES = ['moving left', 'größer, dann kleiner', '跳ぶ']


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'videos' / 'a b').mkdir(parents=True)
    paths = [f'a b/clip {i}, ö.MP4' for i in range(4)]
    for path in paths:
        (tmp_path / 'videos' / path).touch()
    lines = [f'{path}\t{i % 3}\n' for i, path in enumerate(paths)]
    (tmp_path / 'train.txt').write_text(''.join(lines), encoding='utf-8')
    (tmp_path / 'classes.txt').write_text('\n'.join(NAMES), encoding='utf-8')
    return tmp_path


def build(folder, **options):
    arguments = dict(
        type='CheckedVideoDataset',
        ann_file=str(folder / 'train.txt'),
        data_prefix=dict(video=str(folder / 'videos')),
        delimiter='\t',
        class_file=str(folder / 'classes.txt'),
        pipeline=[],
    )
    return DATASETS.build({**arguments, **options})


def test_class_file_sets_the_classes(folder):
    dataset = build(folder, metainfo=dict(source='camera'))
    assert dataset.num_classes == 3
    assert dataset.metainfo == dict(classes=tuple(NAMES), source='camera')
    assert dataset.get_data_info(3)['label'] == 0
    assert dataset.get_data_info(3)['filename'].endswith('a b/clip 3, ö.MP4')
    # Wrappers have the same names, which mmengine stores in checkpoints.
    assert RepeatDataset(dataset, 2).metainfo['classes'] == tuple(NAMES)


def test_class_file_of_raw_frames(folder):
    (folder / 'a').mkdir()
    (folder / 'a' / 'img_00001.jpg').touch()
    (folder / 'list.txt').write_text('a 1 2\n')
    dataset = DATASETS.build(
        dict(
            type='CheckedRawframeDataset',
            ann_file=str(folder / 'list.txt'),
            data_prefix=dict(img=str(folder)),
            class_file=str(folder / 'classes.txt'),
            test_mode=True,
            pipeline=[],
        )
    )
    assert dataset.num_classes == 3


def test_class_file_gives_the_length_of_label_vectors(folder):
    (folder / 'train.txt').write_text('a b/clip 0, ö.MP4\t0\t2\n', encoding='utf-8')
    assert build(folder, multi_class=True)[0]['label'].tolist() == [1, 0, 1]


def test_num_classes_must_equal_the_number_of_names(folder):
    assert build(folder, num_classes=3).num_classes == 3
    match = 'classes.txt has 3 class names, but .*train.txt has num_classes=4; omit'
    with pytest.raises(ValueError, match=match):
        build(folder, num_classes=4)


def test_missing_class_file(folder):
    (folder / 'classes.txt').unlink()
    match = "classes.txt' do not exist; .*tools/data/own_videos.py"
    with pytest.raises(FileNotFoundError, match=match):
        build(folder)


def test_label_without_a_name(folder):
    (folder / 'classes.txt').write_text('a\nb\n')
    match = r'train.txt, line 3: .* label 2, but .*classes.txt has 2 .* labels 0 to 1; '
    with pytest.raises(ValueError, match=match):
        build(folder)


def test_classes_of_another_preparation(folder):
    report = folder / 'preparation.json'
    report.write_text(json.dumps(dict(class_fingerprint=fingerprint_class_names('ab'))))
    with pytest.raises(ValueError, match='the classes or their order differ'):
        build(folder)
    fingerprint = fingerprint_class_names(NAMES)
    report.write_text(json.dumps(dict(class_fingerprint=fingerprint)))
    build(folder)


def test_class_without_training_clips_triggers_a_warning(folder, log):
    with open(folder / 'classes.txt', 'a', encoding='utf-8') as file:
        file.write('\nsitting\n')
    build(folder, test_mode=True)
    assert not log
    build(folder)
    assert 'no clip of 1 of the 4 classes in ' in log[0]
    assert ": 'sitting'. A network cannot learn" in log[0]


def test_flip_spares_directions_of_the_class_file(folder):
    flip = TRANSFORMS.build(
        dict(type='SelectiveFlip', class_names=str(folder / 'classes.txt'))
    )
    assert flip.kept_labels == {0}
    flip.check_annotation(str(folder / 'train.txt'), {0, 2}, 3)
