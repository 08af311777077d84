# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The lists of made-up downloads equal lists written by hand."""

import hashlib
import json
import os
from pathlib import Path

import cv2
import pytest
from made_up_downloads import GYM_A, GYM_B, GYM_C, STHV1_NAMES, put_frames

from selfy_mmaction.data_preparation import DATASETS, gym, prepare
from selfy_mmaction.datasets.class_names import fingerprint_class_names


def make(raw: Path, name: str, **options) -> tuple[Path, dict]:
    out = raw.parent / 'out'
    options = {'allow_partial': True, 'workers': 2, **options}
    return out, prepare(DATASETS[name], raw, out, **options)


@pytest.fixture
def has_ffmpeg() -> None:
    try:
        gym.find_ffmpeg()
    except FileNotFoundError:
        pytest.skip('neither ffmpeg nor imageio-ffmpeg is installed')


def test_sthv1_in_alphabetical_order(sthv1):
    out, record = make(sthv1, 'sthv1')
    train = out / 'sthv1_train_list_rawframes.txt'
    assert train.read_text() == '100218 3 3\n7 2 1\n12 4 2\n'
    assert (out / 'sthv1_val_list_rawframes.txt').read_text() == '85 3 0\n'
    assert not (out / 'sthv1_train_list_videos.txt').exists()
    assert (out / 'rawframes' / '12' / '00004.jpg').is_file()
    names = sorted(STHV1_NAMES)
    assert (out / 'classes.txt').read_text().splitlines() == names
    assert record == json.loads((out / 'preparation.json').read_text())
    assert record['dataset'] == 'sthv1'
    assert record['label_order'] == 'alphabetical'
    assert record['label_version'] == ['v1']
    assert record['class_fingerprint'] == fingerprint_class_names(names)
    assert record['lists'][train.name] == {
        'samples': 3,
        'left_out': 0,
        'label_version': 'v1',
        'sha256': hashlib.sha256(train.read_bytes()).hexdigest(),
    }


def test_sthv1_in_the_order_of_mmaction2(sthv1):
    out, record = make(sthv1, 'sthv1', label_order='mmaction2')
    train = out / 'sthv1_train_list_rawframes.txt'
    assert train.read_text() == '100218 3 1\n7 2 0\n12 4 2\n'
    assert (out / 'classes.txt').read_text().splitlines() == STHV1_NAMES
    assert record['label_order'] == 'mmaction2'


def test_sthv1_from_json(sthv1):
    folder = sthv1 / 'annotations'
    stem = folder / 'something-something-v1'
    for path in folder.glob('*.csv'):
        path.unlink()
    Path(f'{stem}-labels.json').write_text(json.dumps(STHV1_NAMES))
    Path(f'{stem}-train.json').write_text(
        json.dumps([dict(id=7, label='Holding something')])
    )
    Path(f'{stem}-validation.json').write_text(
        json.dumps([dict(id=85, label=STHV1_NAMES[3])])
    )
    out, _ = make(sthv1, 'sthv1')
    assert (out / 'sthv1_train_list_rawframes.txt').read_text() == '7 2 1\n'


def test_sthv2(sthv2):
    out, record = make(sthv2, 'sthv2')
    assert (out / 'sthv2_train_list_videos.txt').read_text() == (
        '78687.webm 1\n42326.webm 2\n100904.webm 0\n'
    )
    assert (out / 'sthv2_val_list_videos.txt').read_text() == '3.webm 1\n'
    assert (out / 'classes.txt').read_text() == (
        'Approaching something with your camera\n'
        'Holding something\n'
        'Pushing something from left to right\n'
    )
    assert record['label_order'] == 'official'
    assert (out / 'videos').readlink().is_absolute()


def test_sthv2_with_frames_in_the_same_folder(sthv2):
    for clip in ('78687', '42326', '100904', '3'):
        put_frames(sthv2 / 'rawframes' / clip, 5, 'img_{:05}.jpg')
        (sthv2 / 'rawframes' / clip / 'flow_x_00001.jpg').write_bytes(b'flow')
    prepare(DATASETS['sthv2'], sthv2, sthv2, allow_partial=True)
    assert (sthv2 / 'sthv2_val_list_rawframes.txt').read_text() == '3 5 1\n'
    assert (sthv2 / 'sthv2_val_list_videos.txt').read_text() == '3.webm 1\n'
    assert not (sthv2 / 'rawframes').is_symlink()


def test_diving48_names_the_version_in_every_list(diving48):
    out, record = make(diving48, 'diving48')
    lists = {path.name: path.read_text() for path in out.glob('*_list_*')}
    assert lists == {
        'diving48_v1_train_list_videos.txt': (
            'a_00001.mp4 0\na_00002.mp4 1\nb_00000.mp4 1\n'
        ),
        'diving48_v1_val_list_videos.txt': 'c_00007.mp4 0\n',
        'diving48_v2_train_list_videos.txt': 'a_00001.mp4 1\na_00002.mp4 1\n',
        'diving48_v2_val_list_videos.txt': 'c_00007.mp4 1\n',
    }
    assert (out / 'classes.txt').read_text() == (
        'Back+15som+05Twis+FREE\nForward+Dive+NoTwis+PIKE\n'
    )
    assert record['label_version'] == ['v1', 'v2']


def test_gym(gym, has_ffmpeg, capsys):
    out, record = make(gym, 'gym')
    assert (out / 'gym99_train_list_videos.txt').read_text() == f'{GYM_A}.mp4 2\n'
    assert (out / 'gym99_val_list_videos.txt').read_text() == f'{GYM_B}.mp4 1\n'
    assert (out / 'gym288_train_list_videos.txt').read_text() == f'{GYM_A}.mp4 1\n'
    assert (out / 'gym288_val_list_videos.txt').read_text() == f'{GYM_B}.mp4 0\n'
    assert (out / 'gym99_classes.txt').read_text() == (
        '(BB) salto backward tucked [Glabel 290]\n'
        '(BB) round-off\n'
        '(BB) salto backward tucked [Glabel 359]\n'
    )
    assert record['label_sets'].keys() == {'gym99', 'gym288'}
    recorded = record['label_sets']['gym99']
    assert recorded['label_version'] == ['v1.0']
    assert recorded['lists']['gym99_train_list_videos.txt']['left_out'] == 1
    assert '1 videos are not in' in capsys.readouterr().out

    # 1.0 s (event) + 0.5 s (first stage) to 1.0 s + 1.5 s (last stage), 12 frames/s.
    capture = cv2.VideoCapture(str(out / 'subactions' / f'{GYM_A}.mp4'))
    frames = [capture.read() for _ in range(13)]
    assert [found for found, _ in frames] == [True] * 12 + [False]
    assert frames[0][1].mean() == pytest.approx(6 * 18, abs=3)
    assert frames[11][1].mean() == pytest.approx(6 * 29, abs=3)


def test_gym_resumes(gym, has_ffmpeg):
    out, _ = make(gym, 'gym')
    pieces = [out / 'subactions' / f'{clip}.mp4' for clip in (GYM_A, GYM_B)]
    whole = pieces[1].read_bytes()
    before = os.stat(pieces[0]).st_mtime_ns
    pieces[1].write_bytes(whole[: len(whole) // 2])
    (out / 'subactions' / f'{GYM_C}.partial.mp4').write_bytes(b'interrupted')
    make(gym, 'gym')
    assert os.stat(pieces[0]).st_mtime_ns == before
    assert pieces[1].read_bytes() == whole


def test_gym_keeps_pieces_without_videos(gym, put_video):
    (gym / 'videos').rename(gym / 'elsewhere')
    for clip in (GYM_A, GYM_B):
        put_video(gym / 'subactions' / f'{clip}.mp4')
    out, _ = make(gym, 'gym')
    assert (out / 'gym99_train_list_videos.txt').read_text() == f'{GYM_A}.mp4 2\n'
    assert (out / 'subactions').is_symlink()


def test_gym_without_ffmpeg(gym, monkeypatch):
    monkeypatch.setenv('PATH', '')
    monkeypatch.setitem(__import__('sys').modules, 'imageio_ffmpeg', None)
    with pytest.raises(FileNotFoundError, match='ffmpeg is needed'):
        make(gym, 'gym')


def test_gym_version_that_is_missing(gym):
    with pytest.raises(ValueError, match=r"no labels of version 'v1\.1', only v1\.0"):
        make(gym, 'gym', label_version='v1.1')


def test_kinetics400(kinetics400, monkeypatch, capsys):
    # As if these were all classes: missing videos are a note, not an error.
    (label_set,) = DATASETS['kinetics400'].label_sets
    names = fingerprint_class_names(['abseiling', 'air drumming', 'zumba'])
    monkeypatch.setitem(label_set.orders, 'alphabetical', names)
    out, record = make(kinetics400, 'kinetics400', allow_partial=False)
    assert (out / 'kinetics400_train_list_videos.txt').read_text() == (
        'air_drumming/---QUuC4vJs_000084_000094.mp4 1\n'
        'abseiling/0wR5jVB-WPk_000417_000427.mp4 0\n'
    )
    assert (out / 'kinetics400_val_list_videos.txt').read_text() == (
        '-3B32lodo2M_000059_000069.mkv 1\n'
    )
    assert (out / 'classes.txt').read_text() == 'abseiling\nair drumming\nzumba\n'
    assert record['lists']['kinetics400_train_list_videos.txt']['left_out'] == 1
    assert "first: '_dbcJuKJQNs_000040_000050'" in capsys.readouterr().out


def test_kinetics400_with_spaces(kinetics400):
    (kinetics400 / 'train' / 'air_drumming').rename(
        kinetics400 / 'train' / 'air drumming'
    )
    with pytest.raises(ValueError, match='air drumming/.* contains a space'):
        make(kinetics400, 'kinetics400')


@pytest.mark.parametrize('folder', [b'caf\xe9', b'air\ndrumming', b'air\tdrumming'])
def test_kinetics400_with_names_that_lists_do_not_support(kinetics400, folder):
    train = kinetics400 / 'train'
    (train / 'air_drumming').rename(train / os.fsdecode(folder))
    message = 'air\\sdrumming/.* contains a space|caf.*not in UTF-8'
    with pytest.raises(ValueError, match=message):
        make(kinetics400, 'kinetics400')


@pytest.mark.parametrize('name', ['sthv1', 'sthv2', 'diving48', 'kinetics400'])
def test_second_run_changes_nothing(name, request):
    raw = request.getfixturevalue(name)
    out, record = make(raw, name)
    before = {path: path.lstat().st_mtime_ns for path in out.iterdir()}
    assert make(raw, name)[1] == record
    assert {path: path.lstat().st_mtime_ns for path in out.iterdir()} == before


def test_interrupted_run_resumes(sthv1, monkeypatch):
    replace, done = os.replace, []

    def interrupt(source, target):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(Path(target))
        replace(source, target)

    monkeypatch.setattr(os, 'replace', interrupt)
    with pytest.raises(KeyboardInterrupt):
        make(sthv1, 'sthv1')
    monkeypatch.undo()
    (first,) = done
    before = first.stat().st_mtime_ns
    assert not (first.parent / 'preparation.json').exists()
    out, record = make(sthv1, 'sthv1')
    assert first.stat().st_mtime_ns == before
    assert {path.name for path in out.iterdir()} == {
        *record['lists'],
        'classes.txt',
        'preparation.json',
        'rawframes',
    }


def test_list_that_differs_is_kept(sthv1):
    out, _ = make(sthv1, 'sthv1')
    before = {path: path.read_bytes() for path in out.glob('*.*')}
    with pytest.raises(FileExistsError, match=r'sthv1_train_list.* differs'):
        make(sthv1, 'sthv1', label_order='mmaction2')
    assert {path: path.read_bytes() for path in out.glob('*.*')} == before
    _, record = make(sthv1, 'sthv1', label_order='mmaction2', overwrite=True)
    assert record['label_order'] == 'mmaction2'
    assert (out / 'sthv1_val_list_rawframes.txt').read_text() == '85 3 3\n'


def test_shuffled_list_is_kept(sthv1):
    out, _ = make(sthv1, 'sthv1')
    train = out / 'sthv1_train_list_rawframes.txt'
    train.write_text('12 4 2\n100218 3 3\n7 2 1')
    _, record = make(sthv1, 'sthv1')
    assert train.read_text() == '12 4 2\n100218 3 3\n7 2 1'
    digest = hashlib.sha256(train.read_bytes()).hexdigest()
    assert record['lists'][train.name]['sha256'] == digest


def test_link_to_another_folder_is_rejected(sthv2, tmp_path):
    out, _ = make(sthv2, 'sthv2')
    (out / 'videos').unlink()
    (out / 'videos').symlink_to(tmp_path)
    with pytest.raises(FileExistsError, match='videos points to'):
        make(sthv2, 'sthv2')


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda raw: None, 'fingerprint .* expected 000af852c09047d1'),
        (
            lambda raw: (raw / 'annotations/something-something-v1-train.csv').unlink(),
            'train file .* expected something-something-v1-train.csv',
        ),
        (
            lambda raw: (raw / '20bn-something-something-v1').rename(raw / 'x'),
            'expected one of rawframes, 20bn-something-something-v1, videos',
        ),
    ],
)
def test_incomplete_downloads(sthv1, spoil, message):
    spoil(sthv1)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        make(sthv1, 'sthv1', allow_partial='expected one' in message)


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (
            lambda frames: (frames / '12').rename(frames / '13'),
            r"1 of 3 clips are not in .* \(first: '12'\)",
        ),
        (
            lambda frames: (frames / '12' / '00002.jpg').unlink(),
            r'lack frames, first: 12 \(without 00002.jpg\)',
        ),
    ],
)
def test_partial_data(sthv1, spoil, message, monkeypatch, capsys):
    dataset = DATASETS['sthv1']
    out, _ = make(sthv1, 'sthv1')
    # Treat these classes and numbers as the published ones.
    (label_set,) = dataset.label_sets
    names = fingerprint_class_names(sorted(STHV1_NAMES))
    monkeypatch.setitem(label_set.orders, 'alphabetical', names)
    monkeypatch.setitem(label_set.published, 'v1', {'train': 3, 'val': 1})
    make(sthv1, 'sthv1', allow_partial=False)

    spoil(sthv1 / '20bn-something-something-v1')
    with pytest.raises(ValueError, match=message):
        make(sthv1, 'sthv1', allow_partial=False)
    make(sthv1, 'sthv1', overwrite=True)
    train = out / 'sthv1_train_list_rawframes.txt'
    assert train.read_text() == '100218 3 3\n7 2 1\n'
    assert 'left out' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('name', 'path', 'text', 'message'),
    [
        (
            'sthv1',
            'annotations/something-something-v1-train.csv',
            '7;Juggling something\n',
            "clip 7 has the class 'Juggling something'",
        ),
        (
            'sthv1',
            'annotations/something-something-v1-train.csv',
            '7,Holding something\n',
            'line 1: .* expected "id;class"',
        ),
        (
            'sthv2',
            'labels/labels.json',
            '{"Holding something": "1"}',
            r"labels.json, Holding something: '1' .* an integer from 0 to 0",
        ),
        ('sthv2', 'labels/train.json', '[{"id": "7"', r'train.json is not valid JSON'),
        (
            'sthv2',
            'labels/train.json',
            '[{"id": "7"}]',
            'entry 1: .* the field "template" or "label"',
        ),
        (
            'diving48',
            'Diving48_train.json',
            '[{"label": 1}]',
            'entry 1: .* expected the field "vid_name"',
        ),
        (
            'diving48',
            'Diving48_test.json',
            '[{"vid_name": "c_00007", "label": 2}]',
            'label: 2 .* 0 to 1, a label of the 2 classes of Diving48_vocab.json',
        ),
        (
            'gym',
            'gym99_val_element.txt',
            f'{GYM_B} 3\n',
            "line 1, label: '3' .* 0 to 2",
        ),
        ('gym', 'gym99_val_element.txt', f'{GYM_B}\n', 'line 1: .* a sub-action and'),
        ('gym', 'gym99_categories.txt', 'salto\n', 'expected "Clabel: 0'),
        (
            'gym',
            'gym99_val_element.txt',
            '0LtLS9wROrk_E_000001_000003_A_0007_0008 1\n',
            'has no times for 0LtLS9wROrk_E_000001_000003_A_0007_0008',
        ),
        ('kinetics400', 'annotations/train.csv', 'a,b\n', 'column label, time_end'),
        (
            'kinetics400',
            'annotations/validate.csv',
            'label,youtube_id,time_start,time_end\nyoga,x,1,2\n',
            "class 'yoga', which is not in",
        ),
    ],
)
def test_malformed_official_files(name, path, text, message, request):
    raw = request.getfixturevalue(name)
    (raw / path).write_text(text)
    with pytest.raises(ValueError, match=message):
        make(raw, name)


def test_tool(sthv2, run_tool, capsys):
    out = sthv2.parent / 'out'
    assert run_tool('sthv2', '--raw', sthv2, '--out', out) == 2
    assert 'error: the 3 class names' in capsys.readouterr().err
    assert not out.exists()
    assert run_tool('sthv2', '--raw', sthv2, '--out', out, '--allow-partial') == 0
    assert 'sthv2_train_list_videos.txt: 3 clips' in capsys.readouterr().out
    assert run_tool('sthv2', '--out', out) == 2
    assert 'error: --raw is required' in capsys.readouterr().err
    assert run_tool('sthv2', '--raw', sthv2, '--out', out, '--workers', '0') == 2
    assert '--workers must be at least 1, got 0' in capsys.readouterr().err
    tool = ('sthv2', '--raw', sthv2, '--out')
    assert run_tool(*tool, sthv2 / 'labels' / 'train.json', '--allow-partial') == 2
    assert 'train.json is not a folder' in capsys.readouterr().err
    assert run_tool(*tool, out, '--check', '--json', out / 'no' / 'x.json') == 2
    assert f'the folder {out / "no"} does not exist' in capsys.readouterr().err
    (sthv2 / 'labels' / 'train.json').write_text('[{"id": "7"}]')
    assert run_tool('sthv2', '--raw', sthv2, '--out', out) == 2
    assert 'train.json, entry 1: ' in capsys.readouterr().err
