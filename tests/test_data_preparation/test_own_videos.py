# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Lists of made-up folders and tables of videos equal what their names say."""

import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from selfy_mmaction.data_preparation import decoding
from selfy_mmaction.data_preparation.own_videos import (
    inspection,
    prepare_own_videos,
    show_own_videos,
)
from selfy_mmaction.data_preparation.own_videos.clips import (
    Clip,
    check_labels,
    natural_key,
)
from selfy_mmaction.data_preparation.own_videos.splitting import (
    group_clips,
    split_clips,
)
from selfy_mmaction.datasets import CheckedVideoDataset

TOOL = Path(__file__).parents[2] / 'tools' / 'data' / 'own_videos.py'
FRACTIONS = {'val': 0.15, 'test': 0.15}


@pytest.fixture(scope='module')
def short(tmp_path_factory) -> bytes:
    """Ten small frames: a video that is decoded quickly."""
    path = tmp_path_factory.mktemp('short') / 'clip.avi'
    code = cv2.VideoWriter_fourcc(*'MJPG')
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, code, 5, (32, 24))
    for i in range(10):
        writer.write(np.full((24, 32, 3), 25 * i, np.uint8))
    writer.release()
    return path.read_bytes()


@pytest.fixture
def put(short) -> Callable[[Path], Path]:
    def put(path: Path, mark: str | None = None) -> Path:
        """Write a video whose content depends on its path, or on ``mark``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        # Bytes after the end of the container are ignored.
        path.write_bytes(short + (mark or str(path)).encode('utf-8', 'surrogateescape'))
        return path

    return put


@pytest.fixture
def raw(tmp_path, put) -> Path:
    """Two classes of four clips."""
    for label in ('wave hand', 'clap, twice'):
        for i in range(4):
            put(tmp_path / 'raw' / label / f'take {i}.avi')
    return tmp_path / 'raw'


@pytest.fixture
def no_decoding(monkeypatch) -> list[Path]:
    """Skip the slow part; return the decoded paths."""
    decoded = []

    def decode(paths, decoder, workers, progress):
        for path in paths:
            decoded.append(path)
            progress()
        return [None] * len(paths)

    monkeypatch.setattr(inspection, 'decoding_problems', decode)
    return decoded


def make(raw: Path, **options) -> tuple[Path, dict]:
    out = raw.parent / 'out'
    return out, prepare_own_videos(raw, out, **{'workers': 2, **options})


def read_lists(out: Path) -> dict[str, list[tuple[str, int]]]:
    found = {}
    for split in ('train', 'val', 'test'):
        lines = (out / f'{split}.txt').read_text('utf-8').splitlines()
        pairs = (line.split('\t') for line in lines)
        found[split] = [(path, int(label)) for path, label in pairs]
    return found


def clips_of(**counts: int) -> list[Clip]:
    return [
        Clip(f'{label}/{i}.avi', label, Path(f'{label}/{i}.avi'))
        for label, count in counts.items()
        for i in range(count)
    ]


def shares(clips: list[Clip]) -> dict[str, dict[str, int]]:
    found = {}
    for clip in clips:
        per_split = found.setdefault(clip.label, dict(train=0, val=0, test=0))
        per_split[clip.split] += 1
    return found


def test_folder_of_classes(raw):
    out, record = make(raw)
    assert (out / 'classes.txt').read_text() == 'clap, twice\nwave hand\n'
    lists = read_lists(out)
    assert {split: len(pairs) for split, pairs in lists.items()} == dict(
        train=4, val=2, test=2
    )
    listed = {path: label for pairs in lists.values() for path, label in pairs}
    assert listed == {
        f'{name}/take {i}.avi': label
        for label, name in enumerate(('clap, twice', 'wave hand'))
        for i in range(4)
    }
    assert (out / 'videos').resolve() == raw.resolve()
    assert record == json.loads((out / 'preparation.json').read_text('utf-8'))
    assert record['media'] == {
        'videos': 8,
        'seconds': dict(smallest=2.0, median=2.0, largest=2.0),
        'frames': dict(smallest=10, median=10, largest=10),
        'rate': dict(smallest=5.0, median=5.0, largest=5.0),
        'size': dict(smallest=[32, 24], median=[32, 24], largest=[32, 24]),
        'codecs': {'MJPG': 8},
        'rotated': 0,
    }
    text = show_own_videos(record)
    assert 'all classes  4      2    2     8' in text.splitlines()
    assert '8 videos; codecs: MJPG 8; stored rotated: 0' in text


def test_datasets_read_the_lists(raw):
    out, _ = make(raw)
    dataset = CheckedVideoDataset(
        str(out / 'train.txt'),
        pipeline=[],
        data_prefix=dict(video=str(out / 'videos')),
        delimiter='\t',
        num_classes=2,
    )
    assert len(dataset) == 4
    assert all(os.path.isfile(dataset[i]['filename']) for i in range(4))


def test_second_run_decodes_and_changes_nothing(raw, monkeypatch):
    out, record = make(raw)
    before = {path: path.lstat().st_mtime_ns for path in out.iterdir()}
    monkeypatch.setattr(decoding, '_start', None)
    assert make(raw)[1] == record
    changed = {path.name for path in before if path.lstat().st_mtime_ns != before[path]}
    assert changed <= {'preparation.json'}


def test_interrupted_run_resumes(raw, no_decoding, monkeypatch):
    monkeypatch.setattr(inspection, 'PIECE', 3)
    write, pieces = inspection._write_cache, []

    def interrupt(*args):
        write(*args)
        pieces.append(args)
        if len(pieces) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(inspection, '_write_cache', interrupt)
    with pytest.raises(KeyboardInterrupt):
        make(raw)
    assert len(no_decoding) == 6
    assert not (raw.parent / 'out' / 'train.txt').exists()
    make(raw)
    assert len(no_decoding) == len(set(no_decoding)) == 8


def test_changed_video_is_decoded_again(raw, no_decoding, put):
    make(raw)
    put(raw / 'wave hand' / 'take 2.avi', 'another content')
    make(raw)
    assert no_decoding[8:] == [raw / 'wave hand' / 'take 2.avi']


def test_damaged_cache_is_ignored(raw, no_decoding):
    out, record = make(raw)
    for content in ('{', '[]', '{"a": 1}', '{"a": {"b": 2}}'):
        (out / inspection.CACHE).write_text(content)
        assert make(raw)[1] == record


def test_names_of_any_kind(tmp_path, put, no_decoding):
    raw = tmp_path / 'raw'
    names = ['A, b.MP4', "it's #1.MoV", 'été 🎬.avi', 'x\u3000y.mkv', 'deep/er/z.webm']
    for label in ('näher 10', 'näher 9', '日本'):
        for name in names:
            put(raw / label / name)
    out, record = make(raw)
    lines = (out / 'classes.txt').read_text('utf-8').splitlines()
    assert lines == ['näher 9', 'näher 10', '日本']
    listed = {path for pairs in read_lists(out).values() for path, _ in pairs}
    assert listed == {f'{label}/{name}' for label in lines for name in names}
    assert record['skipped'] == {}


def test_other_files_are_skipped_and_counted(raw, put, no_decoding):
    put(raw / '.hidden' / 'a.avi')
    put(raw / 'wave hand' / '.b.avi')
    put(raw / 'wave hand' / 'c.partial.avi')
    put(raw / 'outside.avi')
    (raw / 'wave hand' / 'notes.txt').write_text('x')
    (raw / 'empty').mkdir()
    _, record = make(raw)
    assert record['media']['videos'] == 8
    assert record['skipped'] == {'hidden': 2, 'no video': 2}
    notes = '\n'.join(record['notes'])
    assert 'outside of the folder of a class, and are left out: outside.avi' in notes
    assert 'empty has no videos, so it is not a class' in notes


@pytest.mark.parametrize('name', ['a\tb.avi', 'a\nb.avi', b'caf\xe9.avi', ' a.avi'])
def test_names_that_lists_cannot_hold(raw, put, name, no_decoding):
    label = ' wave' if name == ' a.avi' else 'wave hand'
    put(raw / label / os.fsdecode(name))
    with pytest.raises(ValueError, match=r'rename the file or folder'):
        make(raw)
    assert not no_decoding
    assert not (raw.parent / 'out').exists()


@pytest.mark.parametrize(
    ('one', 'two'),
    [
        ('Run', 'run'),
        ('run  fast', 'run fast'),
        ('ﬁght', 'fight'),
        ('straße', 'STRASSE'),
    ],
)
def test_classes_that_differ_too_little(one, two):
    with pytest.raises(ValueError, match='differ only in capitalization'):
        check_labels([one, two])


def test_folders_of_one_class_in_two_forms_of_unicode(raw, put):
    for form in ('NFC', 'NFD'):
        put(raw / unicodedata.normalize(form, 'café') / 'a.avi')
    if len(os.listdir(raw)) < 4:
        pytest.skip('the file system has one form of Unicode only')
    with pytest.raises(ValueError, match='two folders of the class'):
        make(raw)


def test_natural_order():
    names = ['b', 'a10', 'a9', 'B', 'a', '10', '9', '9a', 'á']
    assert sorted(names, key=natural_key) == [
        '9',
        '9a',
        '10',
        'a',
        'a9',
        'a10',
        'B',
        'b',
        'á',
    ]


def test_split_by_class():
    clips = split_clips(clips_of(a=100, b=20, c=4, d=3, e=2), FRACTIONS, seed=0)
    assert shares(clips) == {
        'a': dict(train=70, val=15, test=15),
        'b': dict(train=14, val=3, test=3),
        'c': dict(train=2, val=1, test=1),
        'd': dict(train=1, val=1, test=1),
        'e': dict(train=1, val=1, test=0),
    }


def test_split_depends_on_the_seed_only():
    clips = clips_of(a=40, b=40)
    first, other = (split_clips(clips, FRACTIONS, seed) for seed in (0, 1))
    assert first != other
    reordered = split_clips(clips[::-1], FRACTIONS, seed=0)
    assert first == reordered[::-1]


def test_split_is_the_same_on_any_machine():
    clips = split_clips(clips_of(a=7, b=2), FRACTIONS, seed=0)
    # printf '0 path a/2.avi' | sha256sum is the smallest of class a, a/3.avi follows.
    chosen = {clip.path: clip.split for clip in clips if clip.split != 'train'}
    assert chosen == {'a/2.avi': 'val', 'a/3.avi': 'test', 'b/1.avi': 'val'}


def test_one_more_clip_changes_few_splits():
    before = split_clips(clips_of(a=200, b=200), FRACTIONS, seed=3)
    after = split_clips(clips_of(a=201, b=200), FRACTIONS, seed=3)
    known = {clip.path: clip.split for clip in before}
    changed = [c for c in after if c.path in known and c.split != known[c.path]]
    assert len(changed) <= 2


def test_decomposed_names_give_the_same_split():
    clips = [
        Clip(f'{label}/é{i}', label, Path(), group=f'é{i // 2}')
        for label in 'ab'
        for i in range(20)
    ]
    decomposed = [
        Clip(
            unicodedata.normalize('NFD', clip.path),
            clip.label,
            clip.file,
            unicodedata.normalize('NFD', clip.group),
        )
        for clip in clips
    ]
    splits = [
        [c.split for c in split_clips(x, FRACTIONS, 0)] for x in (clips, decomposed)
    ]
    assert splits[0] == splits[1]


@pytest.mark.parametrize('seed', range(5))
def test_groups_stay_together(seed):
    rng = np.random.default_rng(seed)
    clips = [
        Clip(f'{label}/{i}', label, Path(), group=f'person {rng.integers(12)}')
        for label in 'abc'
        for i in range(60)
    ]
    chosen = split_clips(clips, FRACTIONS, seed)
    splits = {}
    for clip in chosen:
        splits.setdefault(clip.group, set()).add(clip.split)
    assert all(len(found) == 1 for found in splits.values())
    for counts in shares(chosen).values():
        assert counts['train'] >= 30
        assert min(counts.values()) >= 1


@pytest.mark.parametrize(
    ('groups', 'message'),
    [
        ({'a': 'xx', 'b': 'yz'}, "'a' has 2 clips, all of one group"),
        ({'a': 'x', 'b': 'yz'}, "'a' has 1 clip;"),
        ({'a': 'xy', 'b': 'xx', 'c': 'yy'}, '2 of 3 classes cannot be'),
        ({'a': 'xyy', 'b': 'xzz', 'c': 'yz'}, None),
    ],
)
def test_too_few_groups(groups, message):
    clips = [
        Clip(f'{label}/{i}', label, Path(), group=group)
        for label, names in groups.items()
        for i, group in enumerate(names)
    ]
    if message is None:
        message = 'its groups are the only ones of other classes'
    with pytest.raises(ValueError, match=message):
        split_clips(clips, FRACTIONS, seed=0)


@pytest.mark.parametrize(
    ('group_by', 'expected'),
    [
        ('(.+)_clip', ['v1', 'v1', 'v2']),
        ('/(.+)/', ['p', 'q', 'p']),
        ('(v.)_(clip.)', ['v1/clip1', 'v1/clip2', 'v2/clip1']),
        ('parent', ['p', 'q', 'p']),
    ],
)
def test_group_by(group_by, expected):
    paths = ['p/v1_clip1.avi', 'q/v1_clip2.avi', 'p/v2_clip1.avi']
    clips = [Clip(f'a/{path}', 'a', Path(), below=path) for path in paths]
    assert [clip.group for clip in group_clips(clips, group_by)] == expected


@pytest.mark.parametrize(
    ('group_by', 'message'),
    [
        ('(', 'not a regular expression'),
        ('v1', 'expected parentheses'),
        ('(v1)', r'1 of 2 videos do not match.*\(a/v2.avi\)'),
        ('(x?)', 'empty parentheses'),
        ('parent', 'in no folder below'),
    ],
)
def test_wrong_group_by(group_by, message):
    clips = [Clip(f'a/v{i}.avi', 'a', Path(), below=f'v{i}.avi') for i in (1, 2)]
    with pytest.raises(ValueError, match=message):
        group_clips(clips, group_by)


def test_split_of_the_folders_is_kept(tmp_path, put, no_decoding):
    raw = tmp_path / 'raw'
    for split, count in {'Train': 3, 'validation': 2}.items():
        for label in 'ab':
            for i in range(count):
                put(raw / split / label / f'{i}.avi')
    out, record = make(raw)
    lists = read_lists(out)
    assert {path.split('/')[0] for path, _ in lists['train']} == {'Train'}
    assert len(lists['train']) == 6
    assert len(lists['val']) == 4
    assert lists['test'] == lists['val']
    assert 'no clips for test: test.txt has those of val' in record['notes'][-1]


def test_val_is_taken_from_train(tmp_path, put, no_decoding):
    raw = tmp_path / 'raw'
    for split in ('train', 'test'):
        for label in 'ab':
            for i in range(4):
                put(raw / split / label / f'{i}.avi')
    lists = read_lists(make(raw)[0])
    assert {split: len(pairs) for split, pairs in lists.items()} == dict(
        train=6, val=2, test=8
    )
    assert all(path.startswith('train/') for path, _ in lists['val'])
    assert all(path.startswith('test/') for path, _ in lists['test'])


def test_classes_called_train_and_test(tmp_path, put, no_decoding):
    raw = tmp_path / 'raw'
    for label in ('train', 'test'):
        for i in range(3):
            put(raw / label / f'{i}.avi')
    with pytest.raises(ValueError, match='If train and test are classes|If test and'):
        make(raw)
    put(raw / 'bus' / '1.avi')
    put(raw / 'bus' / '2.avi')
    assert make(raw)[1]['classes'] == ['bus', 'test', 'train']


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (('train/a/0.avi', 'val/c/0.avi'), "'c' in val has no clip in train"),
        (('val/a/0.avi', 'valid/a/0.avi'), 'two mean the same split'),
    ],
)
def test_wrong_split_of_folders(tmp_path, put, change, message):
    raw = tmp_path / 'raw'
    for path in ('train/a/1.avi', 'train/b/1.avi', 'val/a/1.avi', *change):
        put(raw / path)
    with pytest.raises(ValueError, match=message):
        make(raw)


def test_group_in_two_splits(tmp_path, put):
    raw = tmp_path / 'raw'
    for path in ('train/a/v1_1.avi', 'train/b/v2_1.avi', 'val/a/v1_2.avi'):
        put(raw / path)
    with pytest.raises(ValueError, match="the group 'v1' are in train .* in val"):
        make(raw, group_by='(.+)_')


TABLES = {
    'comma.csv': 'path,label\n"a, 1.avi",x\nb/2.avi,x\nc.AVI,y\né.avi,y\n',
    'bom.csv': '\ufeffPath;Label;why\r\n"a, 1.avi";x;0\r\nb/2.avi;x;1\r\nc.AVI;y;2\r\n'
    'é.avi;y;3\r\n\r\n',
    'list.tsv': 'a, 1.avi\tx\nb/2.avi\tx\nc.AVI\ty\né.avi\ty\n',
    'list.txt': 'a, 1.avi\tx\nb/2.avi\tx\nc.AVI\ty\né.avi\ty\n',
    'bar.csv': 'label| path \nx|a, 1.avi\nx |b/2.avi\n y|c.AVI\ny|é.avi\n',
}


@pytest.fixture
def table_folder(tmp_path, put) -> Path:
    for name in ('a, 1.avi', 'b/2.avi', 'c.AVI', 'é.avi'):
        put(tmp_path / 'raw' / name)
    return tmp_path / 'raw'


@pytest.mark.parametrize('name', TABLES)
def test_tables(table_folder, name, no_decoding):
    table = table_folder / name
    table.write_text(TABLES[name], 'utf-8', newline='')
    out = table_folder.parent / 'out'
    record = prepare_own_videos(table, out)
    lists = read_lists(out)
    assert record['classes'] == ['x', 'y']
    assert {path: label for pairs in lists.values() for path, label in pairs} == {
        'a, 1.avi': 0,
        'b/2.avi': 0,
        'c.AVI': 1,
        'é.avi': 1,
    }
    assert (out / 'videos').resolve() == table_folder.resolve()


def test_table_with_absolute_paths_groups_and_splits(table_folder, put, no_decoding):
    other = put(table_folder.parent / 'other' / 'o.avi')
    table = table_folder / 'list.csv'
    table.write_text(
        'path,label,group,split\n'
        f'{table_folder}/c.AVI,x,g1,train\n'
        f'{other},y,g2,training\n'
        '"a, 1.avi",y,g3,VAL\n'
        'b/../é.avi,x,g4,test\n',
        'utf-8',
    )
    out = table_folder.parent / 'out'
    prepare_own_videos(table, out)
    assert read_lists(out) == {
        'train': [(str(other), 1), ('c.AVI', 0)],
        'val': [('a, 1.avi', 1)],
        'test': [('é.avi', 0)],
    }


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'is empty'),
        ('path,label\n', 'names no video'),
        ('a.avi\n', 'has one column'),
        ('c.AVI x\n', 'has one column'),
        ('c.AVI,x,g1\n', 'line 1 has 3 columns'),
        ('path,label,label\nc.AVI,x,y\n', "two columns 'label'"),
        ('path,label\nc.AVI,x\na, 1.avi,y\n', 'line 3 has 3 columns .*double quotes'),
        ('path,label\n"c.AVI,x\n', 'not valid CSV'),
        ('path,label\nc.AVI,\n', 'line 2 has no label'),
        ('path,label,group\nc.AVI,x,g\né.avi,y,\n', 'line 3 has no group'),
        ('path,label,split\nc.AVI,x,dev\n', "the split 'dev'"),
        ('path,label\nno.avi,x\nc.AVI,y\n', r'1 of the 2 .* \(line 2: no.avi\)'),
        ('file,class\nc.AVI,y\n', 'a line of column names must have path and label'),
        ('c.AVI,x\nc.AVI,y\n', 'other values than line 1'),
        ('c.AVI,x\n./c.AVI,y\n', 'other values than line 1'),
        ('c.AVI,x\né.avi,x\n', "found 1 class, 'x'; training needs at least 2"),
        ('c.AVI,x\né.avi,X\n', 'differ only in capitalization'),
    ],
)
def test_wrong_tables(table_folder, text, message):
    table = table_folder / 'list.csv'
    table.write_text(text, 'utf-8')
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        prepare_own_videos(table, table_folder.parent / 'out')
    assert not (table_folder.parent / 'out').exists()


def test_table_in_another_encoding(table_folder):
    table = table_folder / 'list.csv'
    table.write_bytes('c.AVI,été\n'.encode('latin-1'))
    with pytest.raises(ValueError, match='line 1: byte 0xe9 is not UTF-8'):
        prepare_own_videos(table, table_folder.parent / 'out')


def test_copies_are_used_once(raw, put, no_decoding):
    put(raw / 'wave hand' / 'copy.avi', str(raw / 'wave hand' / 'take 1.avi'))
    os.link(raw / 'wave hand' / 'take 2.avi', raw / 'wave hand' / 'z.avi')
    out, record = make(raw)
    assert record['copies'] == {
        'wave hand/take 1.avi': 'wave hand/copy.avi',
        'wave hand/z.avi': 'wave hand/take 2.avi',
    }
    listed = [path for pairs in read_lists(out).values() for path, _ in pairs]
    assert len(listed) == 8
    assert 'wave hand/take 1.avi' not in listed
    assert 'wave hand/take 1.avi is a copy of' in show_own_videos(record)


def test_copies_with_other_labels(raw, put):
    put(raw / 'clap, twice' / 'copy.avi', str(raw / 'wave hand' / 'take 1.avi'))
    with pytest.raises(ValueError, match="same content, but the labels 'clap, twice'"):
        make(raw)


def test_copies_in_other_splits(tmp_path, put):
    raw = tmp_path / 'raw'
    for path in ('train/a/1.avi', 'train/b/1.avi', 'val/b/1.avi'):
        put(raw / path)
    put(raw / 'val' / 'a' / '2.avi', str(raw / 'train' / 'a' / '1.avi'))
    with pytest.raises(
        ValueError, match='in train and .* in val have the same content'
    ):
        make(raw)


def test_unreadable_videos(raw, short):
    (raw / 'wave hand' / 'bad.avi').write_bytes(b'no video')
    (raw / 'wave hand' / 'cut.avi').write_bytes(short[:-500])
    (raw / 'wave hand' / 'nothing.avi').write_bytes(b'')
    (raw / 'clap, twice' / 'nothing.avi').write_bytes(b'')
    (raw / 'wave hand' / 'gone.avi').symlink_to('nowhere')
    with pytest.raises(ValueError, match='5 of 13 videos cannot be used') as caught:
        make(raw)
    for part in ('bad.avi', 'is truncated', 'are empty', 'gone.avi does not exist'):
        assert part in str(caught.value)
    out = raw.parent / 'out'
    assert not (out / 'train.txt').exists()
    _, record = make(raw, skip_unreadable=True)
    assert set(record['left_out']) == {
        'wave hand/bad.avi',
        'wave hand/cut.avi',
        'wave hand/gone.avi',
        'wave hand/nothing.avi',
        'clap, twice/nothing.avi',
    }
    assert sum(map(len, read_lists(out).values())) == 8


def test_short_videos(raw):
    with pytest.raises(ValueError, match='has 10 frames') as caught:
        make(raw, min_frames=11)
    assert '8 have fewer frames than --min-frames' in str(caught.value)
    with pytest.raises(
        ValueError, match="no video of the class 'clap, twice', 'wave h"
    ):
        make(raw, min_frames=11, skip_unreadable=True)
    assert make(raw, min_frames=10)[1]['media']['videos'] == 8


def test_class_without_readable_videos(raw):
    for i in range(2):
        path = raw / 'yawn' / f'{i}.avi'
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b'no video' * (i + 1))
    with pytest.raises(ValueError, match="no video of the class 'yawn' can be used"):
        make(raw, skip_unreadable=True)


def test_output_that_differs_is_kept(raw, put, no_decoding):
    out, _ = make(raw)
    before = {path: path.read_bytes() for path in out.glob('*.*')}
    with pytest.raises(FileExistsError, match='prepared with seed 0, not 1'):
        make(raw, seed=1)
    for i in range(4):
        put(raw / 'yawn' / f'{i}.avi')
    with pytest.raises(FileExistsError, match=r'classes.txt exists and differs'):
        make(raw)
    del before[out / inspection.CACHE]
    assert {path: path.read_bytes() for path in before} == before
    _, record = make(raw, overwrite=True, seed=1)
    assert record['seed'] == 1
    assert sum(map(len, read_lists(out).values())) == 12


def test_killed_overwrite_leaves_no_record(raw, no_decoding, monkeypatch):
    out, _ = make(raw)
    replace, done = os.replace, []

    def interrupt(source, target):
        if Path(target).suffix == '.txt':
            if done:
                raise KeyboardInterrupt
            done.append(target)
        replace(source, target)

    monkeypatch.setattr(os, 'replace', interrupt)
    with pytest.raises(KeyboardInterrupt):
        make(raw, overwrite=True, seed=1)
    monkeypatch.undo()
    assert not (out / 'preparation.json').exists()


def test_other_things_in_out_are_kept(raw, no_decoding, tmp_path):
    out = tmp_path / 'out'
    (out / 'videos').mkdir(parents=True)
    with pytest.raises(FileExistsError, match='is not a link'):
        make(raw)
    (out / 'videos').rmdir()
    (out / 'videos').symlink_to(tmp_path)
    with pytest.raises(FileExistsError, match='videos points to'):
        make(raw)
    assert not no_decoding
    make(raw, overwrite=True)
    assert (out / 'videos').resolve() == raw.resolve()


def test_absolute_paths_where_links_are_not_possible(raw, no_decoding, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError('A required privilege is not held by the client')

    monkeypatch.setattr(Path, 'symlink_to', refuse)
    out, _ = make(raw)
    assert not (out / 'videos').exists()
    paths = [path for pairs in read_lists(out).values() for path, _ in pairs]
    assert all(Path(path).is_file() and Path(path).is_absolute() for path in paths)


def test_places(raw, tmp_path, put):
    for out in (raw, raw / 'out', tmp_path):
        with pytest.raises(ValueError, match='must not be inside of each other'):
            prepare_own_videos(raw, out)
    with pytest.raises(FileNotFoundError, match='no does not exist'):
        prepare_own_videos(tmp_path / 'no', tmp_path / 'out')
    (tmp_path / 'file').write_text('')
    with pytest.raises(FileExistsError, match='is not a folder'):
        prepare_own_videos(raw, tmp_path / 'file')


def test_lists_below_the_folder_of_a_table(table_folder, no_decoding):
    table = table_folder / 'list.tsv'
    table.write_text(TABLES['list.tsv'], 'utf-8')
    prepare_own_videos(table, table_folder / 'data' / 'own')
    with pytest.raises(ValueError, match='must not be inside of each other'):
        prepare_own_videos(table, table_folder)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(val=0), 'val must be above 0'),
        (dict(val=0.5, test=0.5), 'sum is below 1'),
        (dict(test=float('nan')), 'must be fractions'),
        (dict(seed=-1), 'seed must be an integer'),
        (dict(min_frames=0), 'min_frames must be an integer'),
    ],
)
def test_wrong_options(raw, options, message):
    with pytest.raises(ValueError, match=message):
        make(raw, **options)


def test_folders_without_videos(tmp_path, put):
    raw = tmp_path / 'raw'
    raw.mkdir()
    with pytest.raises(ValueError, match='has no videos in folders of classes'):
        make(raw)
    put(raw / 'a.avi')
    with pytest.raises(ValueError, match='expected .*/CLASS/VIDEO.mp4'):
        make(raw)
    put(raw / 'a' / 'a.avi')
    with pytest.raises(ValueError, match="found 1 class, 'a'"):
        make(raw)
    (raw / 'a' / 'loop').symlink_to(raw)
    with pytest.raises(ValueError, match='is a link to a folder that holds it'):
        make(raw)


def test_notes_about_rare_classes_and_numbered_names(tmp_path, put, no_decoding):
    raw = tmp_path / 'raw'
    for i in range(22):
        put(raw / 'common' / f'v{i // 4}_{i}.avi')
    for i in range(2):
        put(raw / 'rare' / f'v{i}.avi')
    _, record = make(raw)
    notes = '\n'.join(record['notes'])
    assert "'common' has 22 clips, but 'rare' only 2" in notes
    assert "1 classes have no clip in test: 'rare'" in notes
    assert 'names differ only in their last number' in notes


def test_tool(raw, run_script, capsys, monkeypatch):
    def run(*args) -> tuple[int, str, str]:
        try:
            run_script(TOOL, *args)
        except SystemExit as stopped:
            return stopped.code, *capsys.readouterr()
        return 0, *capsys.readouterr()

    monkeypatch.chdir(raw.parent)
    code, text, _ = run('raw')
    assert code == 0
    assert 'all classes  4      2    2     8' in text
    assert text.endswith(
        '  python -m selfy_mmaction.run train configs/own/'
        'selfy-tsn-r18-slim_1xb8-1x1x8-20e_own-rgb.py\n'
    )
    assert {'train.txt', 'videos'} < set(os.listdir('data/own'))
    code, text, _ = run('raw', '--out', 'my lists', '--group-by', '(take .)')
    assert code == 0
    assert "  SELFY_DATA='my lists/' python -m" in text
    monkeypatch.setenv('SELFY_DECODER', 'OpenCV')
    code, text, _ = run('raw', '--out', 'opencv')
    assert '  SELFY_DATA=opencv/ SELFY_DECODER=OpenCV python -m' in text
    code, _, error = run('raw', '--seed', '1')
    assert code == 2
    assert error.startswith('error: data/own was prepared with seed 0')
    code, _, error = run('raw', '--workers', '0')
    assert code == 2
    assert '--workers must be at least 1' in error
