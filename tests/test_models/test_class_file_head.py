# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import pytest
from mmaction.models import TSMHead
from mmaction.registry import MODELS


def build(**options):
    return MODELS.build(dict(type='ClassFileHead', in_channels=8, **options))


@pytest.fixture
def class_file(tmp_path):
    path = tmp_path / 'classes.txt'
    path.write_text('moving left\nmoving right\ngrößer\n', encoding='utf-8')
    return str(path)


def test_one_class_per_name(class_file):
    head = build(class_file=class_file, num_segments=4, dropout_ratio=0)
    assert isinstance(head, TSMHead)
    assert (head.num_classes, head.fc_cls.out_features) == (3, 3)
    assert head.class_names == ('moving left', 'moving right', 'größer')
    assert (head.num_segments, head.dropout) == (4, None)


def test_given_number_does_not_need_the_file():
    head = build(num_classes=5, class_file='nowhere.txt')
    assert (head.num_classes, head.class_names) == (5, None)


def test_missing_file_names_both_ways_out():
    match = 'nowhere.txt.*tools/data/own_videos.py.*model.cls_head.num_classes=3'
    with pytest.raises(FileNotFoundError, match=match):
        build(class_file='nowhere.txt')
    with pytest.raises(ValueError, match='needs class_file, .* or num_classes'):
        build()


def test_malformed_file(tmp_path):
    (tmp_path / 'classes.txt').write_text('a\na\n')
    with pytest.raises(ValueError, match="line 2 repeats 'a'"):
        build(class_file=str(tmp_path / 'classes.txt'))
