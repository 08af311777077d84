# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import json

import numpy as np
import pytest
import torch
from mmaction.registry import DATASETS, TRANSFORMS

from selfy_mmaction.datasets.class_names import fingerprint_class_names

NAMES = [
    'Pushing something from left to right',
    'Turning something upright',
    'Something moving to the Left',
    'Leftover food',
]


@pytest.fixture
def class_names(tmp_path):
    path = tmp_path / 'classes.txt'
    path.write_text('\n'.join(NAMES))
    return str(path)


@pytest.mark.parametrize(
    ('label', 'flipped'),
    [
        (0, 0),
        (1, 1),
        (2, 0),
        (3, 1),
        (np.int64(0), 0),
        ([1, 3], 1),
        ([1, 2], 0),
        (torch.tensor([0.0, 1, 0, 0]), 1),
        (torch.tensor([0.0, 1, 1, 0]), 0),  # one of its classes has a direction
        (np.array([0.9, 0.1, 0, 0]), 0),
    ],
)
def test_flips_unless_the_class_name_has_a_direction(class_names, label, flipped):
    transform = TRANSFORMS.build(
        dict(type='SelectiveFlip', class_names=class_names, flip_ratio=1)
    )
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    results = dict(imgs=[image.copy()], label=label, modality='RGB', img_shape=(2, 2))
    out = transform(results)['imgs'][0]
    np.testing.assert_array_equal(out, image[:, ::-1] if flipped else image)


def test_missing_file_of_names(tmp_path):
    path = str(tmp_path / 'absent.txt')
    with pytest.raises(FileNotFoundError, match='class names .*absent.txt'):
        TRANSFORMS.build(dict(type='SelectiveFlip', class_names=path))


@pytest.fixture
def videos(tmp_path):
    """A dataset with one empty video per class, and its class names."""
    (tmp_path / 'classes.txt').write_text('\n'.join(NAMES))
    lines = [f'{label}.webm {label}\n' for label in range(len(NAMES))]
    (tmp_path / 'list.txt').write_text(''.join(lines))
    for line in lines:
        (tmp_path / line.split()[0]).touch()
    return tmp_path


def build(videos, type='CheckedVideoDataset', **kwargs):
    flip = dict(type='SelectiveFlip', class_names=str(videos / 'classes.txt'))
    return DATASETS.build(
        dict(
            type=type,
            ann_file=str(videos / 'list.txt'),
            data_prefix=dict(video=str(videos)),
            pipeline=[flip],
            **kwargs,
        )
    )


def test_names_and_annotation_that_match(videos):
    fingerprint = fingerprint_class_names(NAMES)
    (videos / 'preparation.json').write_text(
        json.dumps(dict(class_fingerprint=fingerprint))
    )
    (flip,) = build(videos, num_classes=len(NAMES)).pipeline.transforms
    assert flip.kept_labels == {0, 2}
    assert len(build(videos)) == len(NAMES)  # without num_classes


def test_wrong_number_of_classes_is_rejected(videos):
    message = 'classes.txt has 4 class names, .*list.txt has num_classes=5; set class_n'
    with pytest.raises(ValueError, match=message):
        build(videos, num_classes=5)


def test_labels_without_a_name_are_rejected(videos):
    with (videos / 'list.txt').open('a') as file:
        file.write('7.webm 7\n')
    (videos / '7.webm').touch()
    message = 'list.txt has label 7, but .*classes.txt has only 4 .* 0 to 3; set class_'
    with pytest.raises(ValueError, match=message):
        build(videos)


@pytest.mark.parametrize('other', [NAMES[::-1], [*NAMES[:3], 'Food']])
def test_classes_that_differ_from_the_prepared_ones_are_rejected(videos, other):
    ours, theirs = fingerprint_class_names(NAMES), fingerprint_class_names(other)
    (videos / 'preparation.json').write_text(json.dumps(dict(class_fingerprint=theirs)))
    message = f'has fingerprint {ours}, .*preparation.json, .*{theirs}.* differ; set '
    with pytest.raises(ValueError, match=message):
        build(videos, num_classes=len(NAMES))


def test_datasets_of_mmaction2_do_not_check(videos):
    assert len(build(videos, 'VideoDataset', num_classes=5)) == len(NAMES)
