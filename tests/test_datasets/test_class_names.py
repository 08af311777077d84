# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import pytest

from selfy_mmaction.datasets.class_names import (
    fingerprint_class_names,
    labels_with_direction,
    read_class_names,
)

NAMES = [
    'Pushing something from left to right',
    'Turning the camera RIGHT, slowly',
    'Putting something upright on the table',
    "Pulling two ends of something so that it's left-over",
    'Holding something',
]


def test_read(tmp_path):
    path = tmp_path / 'classes.txt'
    path.write_text('\n'.join(NAMES) + '\n')
    assert read_class_names(path) == NAMES


@pytest.mark.parametrize(
    ('text', 'message'),
    [('a\n\nb\n', 'line 2 is empty'), ('a\nb\na\n', "line 3 repeats 'a' of line 1")],
)
def test_bad_files_are_refused(text, message, tmp_path):
    path = tmp_path / 'classes.txt'
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_class_names(path)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.txt' do not exist"):
        read_class_names(tmp_path / 'nowhere.txt')


def test_whole_words_have_a_direction():
    assert labels_with_direction(NAMES) == {0, 1, 3}


def test_fingerprint_ignores_the_way_of_writing():
    a = ['Putting [something] onto [something]', 'Holding something']
    b = ['putting something onto something ', 'Holding [something]']
    assert fingerprint_class_names(a) == fingerprint_class_names(b)
    assert len(fingerprint_class_names(a)) == 16


@pytest.mark.parametrize(
    'other', [['b', 'a'], ['a'], ['a', 'b', 'c'], ['a b'], ['a', 'c']]
)
def test_fingerprint_tells_orders_apart(other):
    assert fingerprint_class_names(['a', 'b']) != fingerprint_class_names(other)
