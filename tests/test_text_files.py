# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import pytest

from selfy_mmaction.text_files import read_class_names


def test_read(tmp_path):
    path = tmp_path / 'classes.txt'
    path.write_text('Moving [something] left, slowly\nb\n')
    assert read_class_names(path) == ['Moving [something] left, slowly', 'b']


@pytest.mark.parametrize(
    ('text', 'message'),
    [('a\n\nb\n', 'line 2 is empty'), ('a\nb\na\n', "line 3 repeats 'a' of line 1")],
)
def test_empty_and_repeated_names(text, message, tmp_path):
    path = tmp_path / 'classes.txt'
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_class_names(path)


@pytest.mark.parametrize(
    'content', [b'\xef\xbb\xbfup\r\nd\xc3\xb6wn\r\n\r\n', 'up\nd\u00f6wn'.encode()]
)
def test_accepted_formats(content, tmp_path):
    (tmp_path / 'classes.txt').write_bytes(content)
    assert read_class_names(tmp_path / 'classes.txt') == ['up', 'd\u00f6wn']


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('up\nd\u00f6wn'.encode('latin-1'), 'line 2: byte 0xf6 is not UTF-8'),
        (b'\n\n', 'is empty; expected one class name per line'),
        (b'', 'is empty; expected one class name per line'),
    ],
)
def test_wrong_encoding_and_empty_file(content, message, tmp_path):
    (tmp_path / 'classes.txt').write_bytes(content)
    with pytest.raises(ValueError, match=f'classes.txt.*{message}'):
        read_class_names(tmp_path / 'classes.txt')


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.txt' do not exist"):
        read_class_names(tmp_path / 'nowhere.txt')
