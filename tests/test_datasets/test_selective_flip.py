# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import numpy as np
import pytest
from mmaction.registry import TRANSFORMS

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


@pytest.mark.parametrize(('label', 'flipped'), [(0, 0), (1, 1), (2, 0), (3, 1)])
def test_flips_unless_the_name_holds_a_direction(class_names, label, flipped):
    transform = TRANSFORMS.build(
        dict(type='SelectiveFlip', class_names=class_names, flip_ratio=1)
    )
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    results = dict(imgs=[image.copy()], label=label, modality='RGB', img_shape=(2, 2))
    out = transform(results)['imgs'][0]
    np.testing.assert_array_equal(out, image[:, ::-1] if flipped else image)


def test_missing_names_are_refused(tmp_path):
    path = str(tmp_path / 'absent.txt')
    with pytest.raises(FileNotFoundError, match='class names .*absent.txt'):
        TRANSFORMS.build(dict(type='SelectiveFlip', class_names=path))
