# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Errors in official files name the file, place, value and what was expected."""

import json
from pathlib import Path

import pytest
from made_up_downloads import GYM_A, GYM_B

from selfy_mmaction.data_preparation import DATASETS, check, prepare

KINETICS_COLUMNS = 'label,youtube_id,time_start,time_end\n'
STHV1_TRAIN = 'annotations/something-something-v1-train.csv'
STHV2_LABELS, STHV2_TRAIN = 'labels/labels.json', 'labels/train.json'
GYM_EVENTS = 'finegym_annotation_info_v1.0.json'


def make(raw: Path, name: str) -> tuple[Path, dict]:
    out = raw.parent / 'out'
    return out, prepare(DATASETS[name], raw, out, allow_partial=True, workers=2)


def gym_event(**fields) -> str:
    return json.dumps({'0LtLS9wROrk': {'E_000001_000003': fields}})


MALFORMED = [
    ('sthv2', STHV2_LABELS, '5', 'labels.json: 5 .* expected a list'),
    ('sthv2', STHV2_LABELS, 'null', 'labels.json: None .* expected a list'),
    ('sthv2', STHV2_LABELS, '[1, 2]', 'labels.json, entry 1: 1 .* expected text'),
    ('sthv2', STHV2_LABELS, '[]', 'labels.json has no classes'),
    ('sthv2', STHV2_LABELS, '["a", "a"]', "entry 2: the class 'a' repeats .*entry 1"),
    ('sthv2', STHV2_LABELS, '["a b", "a, b"]', 'differ only in punctuation'),
    ('sthv2', STHV2_LABELS, '{"a": 0.9}', 'json, a: 0.9 .* an integer from 0 to 0'),
    ('sthv2', STHV2_LABELS, '{"a": true}', 'json, a: True .* an integer from 0 to 0'),
    ('sthv2', STHV2_LABELS, '{"a": 0, "b": 0}', "0 to 1, each once, but 'a' and 'b'"),
    ('sthv2', STHV2_LABELS, '{"a": 0, "a": 1}', "'a' appears twice .* with 0 and 1"),
    ('sthv2', STHV2_TRAIN, '{"id": "7"}', 'train.json: .* expected a list'),
    ('sthv2', STHV2_TRAIN, '["7"]', "train.json, entry 1: '7' .* expected an object"),
    ('sthv2', STHV2_TRAIN, '[]', 'train.json has no clips'),
    (
        'sthv2',
        STHV2_TRAIN,
        '[{"id": "7", "template": 3}]',
        'train.json, entry 1, template: 3 .* expected text',
    ),
    (
        'sthv2',
        STHV2_TRAIN,
        '[{"id": 0.9, "template": "Holding something"}]',
        'train.json, entry 1, id: 0.9 .* expected a name',
    ),
    ('sthv2', STHV2_TRAIN, '[' * 200_000, 'train.json .* nested too deeply'),
    ('sthv2', STHV2_TRAIN, '9' * 5000, r'train.json is not valid JSON \(Exceeds'),
    (
        'sthv1',
        STHV1_TRAIN,
        '7;Holding something\n8\n',
        'line 2: .* expected "id;class"',
    ),
    ('diving48', 'Diving48_vocab.json', '[1]', 'vocab.json, entry 1: 1 .* text'),
    ('diving48', 'Diving48_vocab.json', '[[1]]', 'entry 1, entry 1: 1 .* text'),
    ('diving48', 'Diving48_train.json', '3', 'train.json: 3 .* expected a list'),
    *(
        (
            'diving48',
            'Diving48_train.json',
            f'[{{"vid_name": "a_00001", "label": {label}}}]',
            'Diving48_train.json, entry 1, label: .* an integer from 0 to 1',
        )
        for label in ('0.9', '1.0', 'true', 'null', '"x"', '"٣"', '-1', '[0]', '1e400')
    ),
    ('gym', 'gym99_val_element.txt', f'{GYM_B} ٣\n', 'line 1, label: .* from 0 to 2'),
    ('gym', 'gym99_val_element.txt', f'{GYM_B} 0.9\n', "label: '0.9' .* an integer"),
    *(
        ('gym', GYM_EVENTS, gym_event(**fields), f'E_000001_000003, .*{expected}')
        for fields, expected in (
            (dict(timestamps=[], segments={'A_0000_0001': {}}), 'list of 1 or more'),
            (dict(timestamps='a', segments={'A_0000_0001': {}}), 'list of 1 or more'),
            (dict(timestamps=[['a', 1]], segments={'A_0000_0001': {}}), 'of seconds'),
            (
                dict(timestamps=[[float('nan'), 1]], segments={'A_0000_0001': {}}),
                'a number of seconds',
            ),
            (dict(timestamps=[[0, 1]], segments=3), 'segments: 3 .* an object'),
        )
    ),
    ('kinetics400', 'annotations/train.csv', '', 'train.csv is empty'),
    (
        'kinetics400',
        'annotations/train.csv',
        KINETICS_COLUMNS + 'yoga,x,1\n',
        'train.csv, line 2: .* expected 4 values',
    ),
    (
        'kinetics400',
        'annotations/train.csv',
        KINETICS_COLUMNS + f'"{"x" * 200_000}",x,1,2\n',
        'train.csv, line 2 is not valid CSV .*field larger',
    ),
    (
        'kinetics400',
        'annotations/train.csv',
        KINETICS_COLUMNS + '"yoga,x,1,2\n',
        'train.csv, line .* is not valid CSV .*unexpected end',
    ),
    *(
        (
            'kinetics400',
            'annotations/train.csv',
            KINETICS_COLUMNS + f'yoga,x,1,2\nyoga,y,{time},2\n',
            'train.csv, line 3, time_start: .* expected whole seconds',
        )
        for time in ('inf', 'NaN', 'a', '1.5', '-1', '', '9' * 5000, '1_0')
    ),
]


@pytest.mark.parametrize(('name', 'path', 'text', 'message'), MALFORMED)
def test_malformed_files(name, path, text, message, request):
    raw = request.getfixturevalue(name)
    (raw / path).write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        make(raw, name)
    assert str(raw / path) in str(error.value)


TWO_LABELS = {
    'sthv1': (
        STHV1_TRAIN,
        '7;Holding something\n12;Holding something\n'
        '7;Poking a hole into some substance\n',
        "line 3, id: clip 7 has the label 'Poking .*', but 'Holding .*line 1, id",
    ),
    'sthv2': (
        STHV2_TRAIN,
        '[{"id": "7", "template": "Holding [something]"}, '
        '{"id": 7, "template": "Approaching something with your camera"}]',
        "entry 2, id: clip 7 has the label 'Appr.*', but 'Holding .*entry 1, id",
    ),
    'diving48': (
        'Diving48_train.json',
        '[{"vid_name": "a_00001", "label": 0}, {"vid_name": "a_00001", "label": 1}]',
        'entry 2, vid_name: clip a_00001 has the label 1, but 0 in .*entry 1',
    ),
    'gym': (
        'gym99_train_element_v1.0.txt',
        f'{GYM_A} 2\n{GYM_A} 1\n',
        f'line 2, sub-action: clip {GYM_A} has the label 1, but 2 in .*line 1',
    ),
    'kinetics400': (
        'annotations/train.csv',
        KINETICS_COLUMNS + 'yoga,x,1,2\nzumba,x,1.0,2\n',
        "line 3: clip x_000001_000002 has the label 'zumba', but 'yoga' in .*line 2",
    ),
}


@pytest.mark.parametrize('name', TWO_LABELS)
def test_clip_with_two_labels(name, request):
    raw = request.getfixturevalue(name)
    path, text, message = TWO_LABELS[name]
    (raw / path).write_text(text)
    with pytest.raises(ValueError, match=f'{Path(path).name}, {message}'):
        make(raw, name)


def test_clip_with_different_labels_in_both_splits(diving48):
    (diving48 / 'Diving48_test.json').write_text(
        '[{"vid_name": "a_00001", "label": 1}]'
    )
    with pytest.raises(
        ValueError, match='test.json, .* label 1, but 0 in .*_train.json'
    ):
        make(diving48, 'diving48')


def test_clip_listed_twice_with_the_same_label_is_noted(diving48, capsys):
    path = diving48 / 'Diving48_train.json'
    entries = json.loads(path.read_text())
    path.write_text(json.dumps([*entries, entries[0]]))
    out, _ = make(diving48, 'diving48')
    note = capsys.readouterr().out
    assert 'diving48 v1 list 1 clips again with the same label (first: ' in note
    assert 'entry 1, vid_name and ' in note
    train = out / 'diving48_v1_train_list_videos.txt'
    assert train.read_text() == 'a_00001.mp4 0\na_00002.mp4 1\nb_00000.mp4 1\n'
    report = check(DATASETS['diving48'], out, diving48, sample=0, allow_partial=True)
    (finding,) = [f for f in report['findings'] if f['kind'] == 'repeated']
    assert finding['level'] == 'note'
    assert 'entry 4' in finding['examples'][0]


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-16-le', 'utf-32', 'latin-1'])
@pytest.mark.parametrize(
    ('name', 'path'),
    [
        ('sthv1', STHV1_TRAIN),
        ('sthv2', STHV2_TRAIN),
        ('gym', 'gym99_val_element.txt'),
        ('kinetics400', 'annotations/train.csv'),
    ],
)
def test_wrong_encoding(name, path, encoding, request):
    raw = request.getfixturevalue(name)
    (raw / path).write_bytes(((raw / path).read_text() + 'ä').encode(encoding))
    with pytest.raises(ValueError, match=f'{Path(path).name}.* UTF-8.*iconv'):
        make(raw, name)


@pytest.mark.parametrize('name', ['sthv1', 'sthv2', 'diving48', 'kinetics400'])
def test_byte_order_mark_and_line_endings_are_ignored(name, request):
    raw = request.getfixturevalue(name)
    _, record = make(raw, name)
    for path in raw.rglob('*.*'):
        if path.suffix in ('.json', '.csv', '.txt'):
            text = path.read_text().replace('\n', '\r\n') + '\r\n\r\n'
            path.write_bytes(text.encode('utf-8-sig'))
    assert make(raw, name)[1] == record


def test_empty_list_is_rejected(sthv2):
    (sthv2 / '20bn-something-something-v2' / '3.webm').unlink()
    with pytest.raises(ValueError, match='sthv2_val_list_videos.txt would be empty'):
        make(sthv2, 'sthv2')
