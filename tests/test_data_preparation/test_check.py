# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The check finds every planted fault and accepts good data, also mmaction2's."""

import json
import os
import runpy
import shutil
from pathlib import Path

import mmaction
import pytest
from made_up_downloads import GYM_A, GYM_B, STHV1_NAMES, put_frames

from selfy_mmaction import data_preparation as preparation
from selfy_mmaction.data_preparation import DATASETS, check, prepare
from selfy_mmaction.datasets.class_names import (
    fingerprint_class_names,
    labels_with_direction,
)
from selfy_mmaction.text_files import read_class_names

HOST_TOOLS = Path(mmaction.__path__[0]) / '.mim' / 'tools' / 'data'
LABEL_MAPS = Path(__file__).parents[1] / 'data' / 'label_maps'


def errors(report: dict) -> list[str]:
    return [f['kind'] for f in report['findings'] if f['level'] == 'error']


def notes(report: dict) -> list[str]:
    return [f['kind'] for f in report['findings'] if f['level'] == 'note']


@pytest.fixture
def prepared(request, monkeypatch) -> tuple[Path, str]:
    """A prepared dataset whose numbers and classes count as the published ones."""
    name = request.param
    raw = request.getfixturevalue(name)
    out = raw.parent / 'out'
    record = prepare(DATASETS[name], raw, out, allow_partial=True)
    (label_set,) = DATASETS[name].label_sets
    for version in record['label_version']:
        counts = {
            split: next(
                facts['samples']
                for file, facts in record['lists'].items()
                if split in file and facts['label_version'] == version
            )
            for split in ('train', 'val')
        }
        monkeypatch.setitem(label_set.published, version, counts)
    fingerprint = record['class_fingerprint']
    monkeypatch.setitem(label_set.orders, record['label_order'], fingerprint)
    return out, name


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    'prepared', ['sthv1', 'sthv2', 'diving48', 'kinetics400'], indirect=True
)
def test_good_data(prepared, run_tool, capsys):
    out, name = prepared
    raw = out.parent / 'raw'
    before = {path: path.lstat().st_mtime_ns for path in out.iterdir()}
    assert run_tool(name, '--raw', raw, '--out', out, '--check', '--full') == 0
    report = json.loads((out / 'check.json').read_text())
    assert report['ok']
    assert report['findings'] == []
    assert all(x['decoded'] == x['samples'] > 0 for x in report['lists'].values())
    assert capsys.readouterr().out.endswith('\nok\n')
    (out / 'check.json').unlink()
    assert {path: path.lstat().st_mtime_ns for path in out.iterdir()} == before


def cut_file(path: Path, kept: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])


VIDEO_FAULTS = {
    'missing': lambda out: (out / 'videos/42326.webm').unlink(),
    'empty': lambda out: cut_file(out / 'videos/42326.webm', 0),
    'truncated': lambda out: cut_file(out / 'videos/42326.webm', 0.5),
    'unreadable': lambda out: (out / 'videos/42326.webm').write_bytes(b'no video'),
    'label_range': lambda out: edit(
        out / 'sthv2_train_list_videos.txt', '42326.webm 2', '42326.webm 3'
    ),
    'malformed': lambda out: edit(
        out / 'sthv2_train_list_videos.txt', '42326.webm 2', '42326.webm'
    ),
    'repeated': lambda out: edit(
        out / 'sthv2_train_list_videos.txt', '42326.webm 2', '78687.webm 1'
    ),
    'both_splits': lambda out: edit(
        out / 'sthv2_train_list_videos.txt', '42326.webm 2', '3.webm 1'
    ),
    'count': lambda out: edit(
        out / 'sthv2_train_list_videos.txt', '42326.webm 2\n', ''
    ),
    'missing_list': lambda out: (out / 'sthv2_val_list_videos.txt').unlink(),
    'class_names': lambda out: (out / 'classes.txt').unlink(),
    'class_order': lambda out: (out / 'classes.txt').write_text(
        'Holding something\n'
        'Approaching something with your camera\n'
        'Pushing something from left to right\n'
    ),
}


@pytest.mark.parametrize('with_raw', [False, True])
@pytest.mark.parametrize('fault', VIDEO_FAULTS)
@pytest.mark.parametrize('prepared', ['sthv2'], indirect=True)
def test_faults_in_videos(prepared, fault, with_raw, run_tool):
    out, name = prepared
    VIDEO_FAULTS[fault](out)
    raw = ['--raw', out.parent / 'raw'] if with_raw else []
    assert run_tool(name, *raw, '--out', out, '--check') == 1
    report = json.loads((out / 'check.json').read_text())
    assert fault in errors(report)


FRAME_FAULTS = {
    'missing_frames': lambda frames: (frames / '12/00002.jpg').unlink(),
    'frame_count': lambda frames: (frames / '12/00004.jpg').unlink(),
    'missing': lambda frames: shutil.rmtree(frames / '12'),
    'unreadable': lambda frames: (frames / '12/00002.jpg').write_bytes(b'no image'),
    'empty': lambda frames: (frames / '12/00002.jpg').write_bytes(b''),
}


@pytest.mark.parametrize('fault', FRAME_FAULTS)
@pytest.mark.parametrize('prepared', ['sthv1'], indirect=True)
def test_faults_in_frames(prepared, fault, run_tool, capsys):
    out, name = prepared
    FRAME_FAULTS[fault](out / 'rawframes')
    assert run_tool(name, '--out', out, '--check') == 1
    report = json.loads((out / 'check.json').read_text())
    assert errors(report) == [fault]
    shown = capsys.readouterr().out
    assert 'error: sthv1_train_list_rawframes.txt: 1 of 3 clips' in shown
    assert '\n    12 ' in shown
    assert 'NOT OK' in shown


@pytest.mark.parametrize('prepared', ['sthv1'], indirect=True)
def test_only_the_sample_of_frames_is_decoded(prepared):
    out, name = prepared
    (out / 'rawframes/7/00001.jpg').write_bytes(b'no image')
    assert check(DATASETS[name], out, sample=0)['ok']
    assert check(DATASETS[name], out, sample=1)['ok']
    assert errors(check(DATASETS[name], out, full=True)) == ['unreadable']


@pytest.mark.parametrize('prepared', ['sthv2'], indirect=True)
def test_wrong_labels_are_found_only_with_official_files(prepared):
    out, name = prepared
    (out / 'preparation.json').unlink()
    edit(out / 'sthv2_train_list_videos.txt', '42326.webm 2', '42326.webm 1')
    report = check(DATASETS[name], out)
    assert report['ok']
    assert 'no_annotation' in notes(report)
    report = check(DATASETS[name], out, raw=out.parent / 'raw')
    assert errors(report) == ['class_order']
    (finding,) = [f for f in report['findings'] if f['level'] == 'error']
    assert finding['examples'] == [
        "42326.webm: label 1 ('Holding something'), official "
        "'Pushing something from left to right'"
    ]


def test_unpublished_numbers(sthv2, run_tool):
    out = sthv2.parent / 'out'
    prepare(DATASETS['sthv2'], sthv2, out, allow_partial=True)
    report = check(DATASETS['sthv2'], out, raw=sthv2)
    assert errors(report) == ['count', 'count', 'class_names']
    (finding, *_) = report['findings']
    assert finding['message'] == 'has 3 clips, expected the published 168913 (v2)'
    tool = ('sthv2', '--raw', sthv2, '--out', out, '--check', '--allow-partial')
    assert run_tool(*tool, '--json', out.parent / 'report.json') == 0
    report = json.loads((out.parent / 'report.json').read_text())
    assert notes(report) == ['count', 'count', 'class_names']
    assert not (out / 'check.json').exists()


@pytest.mark.parametrize('prepared', ['kinetics400'], indirect=True)
def test_kinetics_may_lack_videos(prepared, monkeypatch):
    out, name = prepared
    (label_set,) = DATASETS[name].label_sets
    monkeypatch.setitem(label_set.published, 'k400', {'train': 3, 'val': 1})
    report = check(DATASETS[name], out, raw=out.parent / 'raw')
    assert report['ok']
    assert notes(report) == ['count']
    monkeypatch.setitem(label_set.published, 'k400', {'train': 1, 'val': 1})
    assert errors(check(DATASETS[name], out)) == ['count']


@pytest.mark.parametrize('prepared', ['diving48'], indirect=True)
def test_diving48_list_of_the_wrong_version(prepared):
    out, name = prepared
    (out / 'preparation.json').unlink()
    for split in ('train', 'val'):
        shutil.copy(
            out / f'diving48_v2_{split}_list_videos.txt',
            out / f'diving48_v1_{split}_list_videos.txt',
        )
    report = check(DATASETS[name], out)
    assert errors(report) == ['count']
    assert report['findings'][-1]['message'].endswith('2 is the number of v2')
    report = check(DATASETS[name], out, raw=out.parent / 'raw')
    assert errors(report) == ['class_order', 'class_order', 'count']


def test_gym(gym, put_video, run_tool):
    (gym / 'videos').rename(gym / 'elsewhere')
    for clip in (GYM_A, GYM_B):
        put_video(gym / 'subactions' / f'{clip}.mp4')
    out = gym.parent / 'out'
    prepare(DATASETS['gym'], gym, out, allow_partial=True)
    tool = ('gym', '--raw', gym, '--out', out, '--check', '--allow-partial')
    assert run_tool(*tool) == 0
    report = json.loads((out / 'check.json').read_text())
    assert report['classes'].keys() == {'gym99', 'gym288'}
    assert report['classes']['gym99']['left_or_right'] == {}
    edit(out / 'gym288_val_list_videos.txt', '.mp4 0', '.mp4 1')
    assert run_tool(*tool) == 1


LINKED = {'repeated': '78687.webm', 'both_splits': '3.webm'}


@pytest.mark.parametrize('kind', LINKED)
@pytest.mark.parametrize('link', [os.link, os.symlink])
@pytest.mark.parametrize('prepared', ['sthv2'], indirect=True)
def test_one_file_with_two_names(prepared, kind, link):
    out, name = prepared
    original = LINKED[kind]
    (out / 'videos' / '42326.webm').unlink()
    link(
        out.parent / 'raw/20bn-something-something-v2' / original,
        out / 'videos/42326.webm',
    )
    report = check(DATASETS[name], out, sample=0)
    assert errors(report) == [kind]
    (finding,) = [f for f in report['findings'] if f['kind'] == kind]
    shown = ''.join(finding['examples'])
    assert '42326.webm' in shown
    assert original in shown


@pytest.mark.parametrize(
    'line', ['./78687.webm 1', 'x/../78687.webm 1', '78687.mp4 1', '78687.webm 2']
)
@pytest.mark.parametrize('prepared', ['sthv2'], indirect=True)
def test_one_clip_in_two_lines(prepared, line):
    out, name = prepared
    edit(out / 'sthv2_train_list_videos.txt', '42326.webm 2', line)
    report = check(DATASETS[name], out, sample=0)
    (finding,) = [f for f in report['findings'] if f['kind'] == 'repeated']
    assert finding['examples'] == [f'line 2: {line}, same clip as line 1 with label 1']
    assert ('with another label' in finding['message']) == line.endswith('2')


UNREADABLE = {
    'latin-1': ('sthv2_train_list_videos.txt', 'ä.webm 1'.encode('latin-1')),
    'utf-16': ('sthv2_val_list_videos.txt', '3.webm 1'.encode('utf-16')),
    'binary': ('sthv2_val_list_videos.txt', bytes(range(256))),
    'class names': ('classes.txt', 'Hält etwas\n'.encode('latin-1')),
    'record': ('preparation.json', b'[]'),
    'empty record': ('preparation.json', b'{}'),
    'other record': ('preparation.json', b'{"lists": {"a": 3}}'),
}


@pytest.mark.parametrize('fault', UNREADABLE)
@pytest.mark.parametrize('prepared', ['sthv2'], indirect=True)
def test_unreadable_file_stops_the_check(prepared, fault, run_tool, capsys):
    out, name = prepared
    file, content = UNREADABLE[fault]
    (out / file).write_bytes(content)
    assert run_tool(name, '--out', out, '--check') == 2
    assert f'error: {out / file}' in capsys.readouterr().err
    assert not (out / 'check.json').exists()


@pytest.mark.parametrize('prepared', ['sthv2'], indirect=True)
def test_bug_in_the_tool_has_exit_code_2(prepared, run_tool, monkeypatch):
    out, name = prepared
    monkeypatch.setattr(preparation, 'check', lambda *args, **kwargs: 1 / 0)
    assert run_tool(name, '--out', out, '--check') == 2


@pytest.mark.parametrize(
    'text',
    [
        '\ufeff78687.webm 1\r\n42326.webm 2\r\n100904.webm 0\r\n\r\n',
        '78687.webm  1\n42326.webm\t2 \n100904.webm 0',
    ],
)
@pytest.mark.parametrize('prepared', ['sthv2'], indirect=True)
def test_accepted_list_formats(prepared, text):
    out, name = prepared
    path = out / 'sthv2_train_list_videos.txt'
    path.write_bytes(text.encode())
    assert check(DATASETS[name], out, sample=0)['ok']
    path.write_text('78687.webm 1\n\n42326.webm 2\n100904.webm 0\n')
    assert errors(check(DATASETS[name], out, sample=0)) == ['malformed']


@pytest.mark.parametrize(
    ('decoder', 'message'),
    [('decord', "'decord' is unknown; choose one of Decord"), ('PyAV', 'install av')],
)
@pytest.mark.parametrize('prepared', ['sthv2'], indirect=True)
def test_unavailable_decoder(prepared, decoder, message, monkeypatch):
    out, name = prepared
    monkeypatch.setenv('SELFY_DECODER', decoder)
    monkeypatch.setattr('importlib.util.find_spec', lambda package: None)
    with pytest.raises(ValueError, match=message):
        check(DATASETS[name], out)


def test_empty_and_missing_folder(tmp_path, run_tool, capsys):
    report = check(DATASETS['diving48'], tmp_path)
    assert errors(report) == ['missing_list']
    assert run_tool('diving48', '--out', tmp_path / 'nowhere', '--check') == 2
    assert 'nowhere is not a folder' in capsys.readouterr().err


# Folders of mmaction2's scripts, written by its own code if the wheel has it.


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """The folder that mmaction2's scripts read and write."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'data').mkdir()
    return tmp_path / 'data'


def write_host_lists(name: str, kind: str, folders: dict[str, str], level: int) -> None:
    """Write lists like mmaction2's build_file_list.py, in a different order."""
    host = runpy.run_path(str(HOST_TOOLS / 'parse_file_list.py'))
    parse = host[f'parse_{name.replace("400", "")}_splits']
    arguments = {
        'diving48': (),
        'kinetics400': (level, name),
    }.get(name, (level,))
    (splits,) = parse(*arguments)
    for split, clips in zip(('train', 'val'), splits, strict=False):
        folder = Path('data', name, folders[split])
        lines = []
        for clip, label in clips:
            if kind == 'rawframes':
                info = host['parse_directory'](folder, rgb_prefix='0', level=level)
                lines.append(f'{clip} {info[clip][1]} {label}\n')
            else:
                found = list(folder.glob(f'{clip}.*'))
                lines += [f'{path.relative_to(folder)} {label}\n' for path in found]
        path = Path('data', name, f'{name}_{split}_list_{kind}.txt')
        path.write_text(''.join(reversed(lines)))


def keeps_lists(name: str, root: Path, **options) -> bool:
    """Prepare mmaction2's folder and return whether its lists are untouched."""
    before = {path: path.stat().st_mtime_ns for path in root.glob('*_list_*')}
    prepare(DATASETS[name], root, root, allow_partial=True, **options)
    return all(path.stat().st_mtime_ns == before[path] for path in before)


def test_hosts_sthv1(sthv1, data):
    root = data / 'sthv1'
    sthv1.rename(root)
    (root / '20bn-something-something-v1').rename(root / 'rawframes')
    write_host_lists('sthv1', 'rawframes', dict(train='rawframes', val='rawframes'), 1)
    report = check(DATASETS['sthv1'], root, allow_partial=True, full=True)
    assert report['ok']
    assert 'no_class_names' in notes(report)
    facts = report['classes']['sthv1']
    assert facts['label_order'] == 'mmaction2'
    assert facts['left_or_right'] == {1: STHV1_NAMES[1]}
    assert keeps_lists('sthv1', root, label_order='mmaction2')
    assert (root / 'classes.txt').read_text().splitlines() == STHV1_NAMES

    # mmaction2's labels with class names in alphabetical order.
    (root / 'preparation.json').unlink()
    (root / 'classes.txt').write_text('\n'.join(sorted(STHV1_NAMES)) + '\n')
    report = check(DATASETS['sthv1'], root, allow_partial=True)
    assert errors(report) == ['class_order', 'class_order']


def test_hosts_lists_in_two_orders(sthv1, data):
    root = data / 'sthv1'
    sthv1.rename(root)
    (root / '20bn-something-something-v1').rename(root / 'rawframes')
    write_host_lists('sthv1', 'rawframes', dict(train='rawframes', val='rawframes'), 1)
    (root / 'sthv1_val_list_rawframes.txt').write_text('85 3 0\n')
    report = check(DATASETS['sthv1'], root, allow_partial=True)
    assert errors(report) == ['class_order']


def test_hosts_sthv2(sthv2, data):
    root = data / 'sthv2'
    sthv2.rename(root)
    (root / '20bn-something-something-v2').rename(root / 'videos')
    (root / 'labels').rename(root / 'annotations')
    for path in (root / 'annotations').iterdir():
        path.rename(path.with_name(f'something-something-v2-{path.name}'))
    write_host_lists('sthv2', 'videos', dict(train='videos', val='videos'), 1)
    report = check(DATASETS['sthv2'], root, allow_partial=True, full=True)
    assert report['ok']
    assert report['classes']['sthv2']['label_order'] == 'official'
    assert keeps_lists('sthv2', root)


def test_hosts_diving48(diving48, data):
    root = data / 'diving48'
    (root / 'annotations').mkdir(parents=True)
    for name in ('vocab', 'V2_train', 'V2_test'):
        (diving48 / f'Diving48_{name}.json').rename(
            root / 'annotations' / f'Diving48_{name}.json'
        )
    (diving48 / 'rgb').rename(root / 'videos')
    write_host_lists('diving48', 'videos', dict(train='videos', val='videos'), 1)
    report = check(DATASETS['diving48'], root, allow_partial=True, full=True)
    assert report['ok']
    assert 'hosts_name' in notes(report)
    facts = report['lists']['diving48_train_list_videos.txt']
    assert facts['label_version'] == 'v2'


def test_hosts_diving48_version_by_numbers(diving48, data, monkeypatch):
    (label_set,) = DATASETS['diving48'].label_sets
    monkeypatch.setitem(label_set.published, 'v1', {'train': 3, 'val': 1})
    (diving48 / 'rgb').rename(diving48 / 'videos')
    for path in diving48.glob('*.json'):
        path.unlink()
    (diving48 / 'diving48_train_list_videos.txt').write_text(
        'a_00001.mp4 0\na_00002.mp4 1\nb_00000.mp4 1\n'
    )
    (diving48 / 'diving48_val_list_videos.txt').write_text('c_00007.mp4 0\n')
    report = check(DATASETS['diving48'], diving48)
    assert report['ok']
    assert {x['label_version'] for x in report['lists'].values()} == {'v1'}


def test_hosts_kinetics400(kinetics400, data):
    root = data / 'kinetics400'
    kinetics400.rename(root)
    for old, new in {
        'annotations/train.csv': 'annotations/kinetics_train.csv',
        'annotations/validate.csv': 'annotations/kinetics_val.csv',
        'train': 'videos_train',
        'val': 'videos_val/air_drumming',
    }.items():
        (root / new).parent.mkdir(exist_ok=True)
        (root / old).rename(root / new)
    (root / 'annotations/kinetics_test.csv').write_text('label\n')
    folders = dict(train='videos_train', val='videos_val')
    write_host_lists('kinetics400', 'videos', folders, 2)
    assert (root / 'kinetics400_val_list_videos.txt').read_text() == (
        'air_drumming/-3B32lodo2M_000059_000069.mkv 1\n'
    )
    report = check(DATASETS['kinetics400'], root, allow_partial=True, full=True)
    assert report['ok']
    assert keeps_lists('kinetics400', root)


def test_hosts_gym(gym, data, monkeypatch, put_video):
    root = data / 'gym'
    (root / 'annotations').mkdir(parents=True)
    for clip in (GYM_A, GYM_B):
        put_video(root / 'subactions' / f'{clip}.mp4')
    annotations = root / 'annotations'
    (gym / 'gym99_train_element_v1.0.txt').rename(annotations / 'gym99_train_org.txt')
    (gym / 'gym99_val_element.txt').rename(annotations / 'gym99_val_org.txt')
    for clip in (GYM_A, GYM_B):  # one third of the files are frames, the rest flow
        frames = root / 'subaction_frames' / clip
        put_frames(frames, 2, 'img_{:05}.jpg')
        for flow in ('flow_x_{:05}.jpg', 'flow_y_{:05}.jpg'):
            for i in (1, 2):
                (frames / flow.format(i)).write_bytes(b'flow')
    folder = data.parent / 'tools' / 'data' / 'gym'
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    runpy.run_path(str(HOST_TOOLS / 'gym' / 'generate_file_list.py'))
    assert (annotations / 'gym99_train_frame.txt').read_text() == f'{GYM_A} 2 2'
    report = check(DATASETS['gym'], root, allow_partial=True, full=True)
    assert report['ok']
    assert len(report['lists']) == 4
    edit(annotations / 'gym99_val.txt', 'mp4 1', 'mp4 2')
    report = check(DATASETS['gym'], root, allow_partial=True)
    assert errors(report) == ['labels']


# The known orders equal mmaction2's label maps.


@pytest.mark.parametrize(
    ('name', 'order', 'label_map', 'arrange'),
    [
        ('sthv1', 'mmaction2', 'sthv1', list),
        ('sthv1', 'alphabetical', 'sthv1', sorted),
        ('sthv2', 'official', 'sthv1', sorted),
        ('diving48', 'official', 'diving48', list),
        ('kinetics400', 'alphabetical', 'kinetics400', list),
    ],
)
def test_known_orders(name, order, label_map, arrange):
    names = arrange(read_class_names(str(LABEL_MAPS / f'{label_map}.txt')))
    (label_set,) = DATASETS[name].label_sets
    assert len(names) == label_set.num_classes
    assert label_set.orders[order] == fingerprint_class_names(names)


@pytest.mark.parametrize(
    ('order', 'directions', 'right_out'),
    [
        ('alphabetical', {86, 87, 93, 94, 166, 167}, 50),
        ('mmaction2', {2, 4, 30, 41, 52, 66}, 104),
    ],
)
def test_directions_of_sthv1(order, directions, right_out):
    """Ours are the labels of the official code, plus "pulling it right out"."""
    names = read_class_names(str(LABEL_MAPS / 'sthv1.txt'))
    names = DATASETS['sthv1'].arrange[order](tuple(names))
    assert labels_with_direction(names) == directions | {right_out}
    assert 'pulling it right out' in names[right_out]


@pytest.mark.parametrize('order', ['alphabetical', 'mmaction2'])
def test_fingerprint_identifies_the_order_of_sthv1(order, tmp_path):
    names = read_class_names(str(LABEL_MAPS / 'sthv1.txt'))
    names = DATASETS['sthv1'].arrange[order](tuple(names))
    (tmp_path / 'classes.txt').write_text('\n'.join(names) + '\n')
    for split, clip in (('train', '1'), ('val', '2')):
        put_frames(tmp_path / 'rawframes' / clip, 2)
        (tmp_path / f'sthv1_{split}_list_rawframes.txt').write_text(f'{clip} 2 173\n')
    report = check(DATASETS['sthv1'], tmp_path, allow_partial=True)
    assert report['ok']
    assert report['classes']['sthv1']['label_order'] == order
    names[0], names[1] = names[1], names[0]
    (tmp_path / 'classes.txt').write_text('\n'.join(names) + '\n')
    assert 'class_names' in errors(check(DATASETS['sthv1'], tmp_path))


def test_check_does_not_write(sthv1):
    before = sorted(os.listdir(sthv1))
    check(DATASETS['sthv1'], sthv1)
    assert sorted(os.listdir(sthv1)) == before
