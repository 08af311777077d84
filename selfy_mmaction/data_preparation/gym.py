# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""FineGym (Gym99 and Gym288): sub-actions cut from competition videos."""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .layout import Annotation, Dataset, LabelSet, Media, find_file, search_file
from .media import index_media, is_damage, run_parallel, video_problem
from .official_files import Value, distinct_names, label_clips, read_json, read_lines

VERSIONS = ('v1.0', 'v1.1')

CATEGORY = re.compile(r'Clabel:\s*([0-9]{1,6});.*?Glabel:\s*([0-9]{1,6});\s*(.+)')
SUBACTION = re.compile(r'(?P<video>.+)_(?P<event>E_\d+_\d+)_(?P<action>A_\d+_\d+)$')


def read_annotations(root: Path) -> list[Annotation]:
    """Read all available versions of the element lists of Gym99 and Gym288.

    A few elements share a name (Gym99: 2, Gym288: 6), such as the salto backward
    tucked as a flight and as a dismount. Their FineGym-wide number is appended to the
    name: ``(BB) salto backward tucked [Glabel 290]``. Without a categories file, an
    annotation has label numbers only.

    Args:
        root: Folder with ``gym99_categories.txt``, ``gym99_train_element_v1.0.txt`` (or
            v1.1) and ``gym99_val_element.txt``, and the same for ``gym288``. The names
            of mmaction2's script (``gym99_train_org.txt``) are accepted, too.
    """
    annotations = []
    for name, num_classes in (('gym99', 99), ('gym288', 288)):
        class_names = _read_categories(root, name)
        for version in VERSIONS:
            names = [f'{name}_train_element_{version}.txt']
            if version == 'v1.0':  # the only version that mmaction2 downloads
                names.append(f'{name}_train_org.txt')
            train = search_file(root, *names)
            if train is None:
                continue
            val = find_file(
                root,
                f'{name}_val_element.txt',
                f'{name}_val_org.txt',
                what=f'validation list of {name}',
            )
            count = len(class_names) or num_classes
            source = f'{name}_categories.txt' if class_names else name
            splits, repeated = label_clips(
                {'train': train, 'val': val},
                partial(_read_elements, num_classes=count, source=source),
            )
            annotations.append(Annotation(name, version, class_names, splits, repeated))
    if not annotations:
        find_file(root, 'gym99_train_element_v1.0.txt', what='element list of FineGym')
    return annotations


def _read_categories(root: Path, name: str) -> tuple[str, ...]:
    path = search_file(root, f'{name}_categories.txt')
    if path is None:
        return ()
    lines, class_names, numbers = [], [], []
    for line in read_lines(path):
        match = CATEGORY.fullmatch(line.content)
        if match is None or int(match[1]) != len(class_names):
            line.reject(f'"Clabel: {len(class_names)}; set: ...; Glabel: ...; name"')
        lines.append(line)
        class_names.append(match[3])
        numbers.append(match[2])
    repeated = {key for key, count in Counter(class_names).items() if count > 1}
    return distinct_names(
        path,
        (
            line.part(f'{key} [Glabel {number}]' if key in repeated else key, 'name')
            for line, key, number in zip(lines, class_names, numbers, strict=True)
        ),
    )


def _read_elements(
    path: Path, num_classes: int, source: str
) -> Iterator[tuple[Value, int]]:
    for line in read_lines(path):
        fields = line.content.split()
        if len(fields) != 2:
            line.reject('a sub-action and its label')
        clip, label = line.part(fields[0], 'sub-action'), line.part(fields[1], 'label')
        yield clip, label.label(num_classes, source)


@dataclass(frozen=True)
class Cut:
    """Piece of a video; ``start`` and ``duration`` are in seconds."""

    video: Path
    start: float
    duration: float
    out: Path


def cut_subactions(raw: Path, out: Path, clips: list[str], workers: int | None) -> None:
    """Cut the missing sub-actions from the videos.

    A sub-action lasts from the start of its first stage to the end of its last stage.
    The annotation gives these times relative to the start of the event. mmaction2's two
    scripts cut the same pieces in two steps. Readable pieces are kept.

    Args:
        raw: Download with ``videos/ID.mp4`` and the temporal annotation.
        out: Prepared folder; the pieces are written to its folder ``subactions``.
        clips: Names of the required sub-actions.
        workers: Number of threads; None for the number of processors.
    """
    pieces = out / 'subactions'
    if not (raw / 'videos').is_dir() or pieces.is_symlink():
        return
    problems = run_parallel(
        lambda clip: video_problem(pieces / f'{clip}.mp4'),
        clips,
        workers,
        'checking existing sub-actions',
    )
    missing = [
        clip for clip, found in zip(clips, problems, strict=True) if is_damage(found)
    ]
    if not missing:
        return
    videos = index_media(raw / 'videos', 'videos')
    annotations = _read_events(raw)
    cuts, absent = [], set()
    for clip in missing:
        video, start, end = _find_times(clip, annotations)
        if video not in videos:
            absent.add(video)
            continue
        path = raw / 'videos' / videos[video]
        cuts.append(Cut(path, start, end - start, pieces / f'{clip}.mp4'))
    if absent:
        print(
            f'note: {len(absent)} videos are not in {raw / "videos"} (first: '
            f'{min(absent)}); their sub-actions are left out'
        )
    if not cuts:
        return
    ffmpeg = find_ffmpeg()
    pieces.mkdir(parents=True, exist_ok=True)
    problems = run_parallel(
        lambda cut: _cut(ffmpeg, cut), cuts, workers, 'cutting sub-actions'
    )
    failed = [(cut, why) for cut, why in zip(cuts, problems, strict=True) if why]
    if failed:
        cut, why = failed[0]
        print(
            f'note: {len(failed)} sub-actions could not be cut and are left out '
            f'(first: {cut.out.stem} of {cut.video}: {why})'
        )


def _read_events(raw: Path) -> list[Value]:
    """Read the available temporal annotations, v1.0 before v1.1 (more events)."""
    names = [f'finegym_annotation_info_{version}.json' for version in VERSIONS]
    # mmaction2 names v1.0 annotation.json.
    paths = [search_file(raw, name) for name in (*names, 'annotation.json')]
    if not any(paths):
        find_file(raw, *names, what='temporal annotation of FineGym')
    return [read_json(path) for path in paths if path]


def _find_times(clip: str, annotations: list[Value]) -> tuple[str, float, float]:
    match = SUBACTION.match(clip)
    for annotation in annotations if match else ():
        if not annotation.has(match['video']):
            continue
        events = annotation.field(match['video'])
        if not events.has(match['event']):
            continue
        event = events.field(match['event'])
        segments = event.field('segments')
        # Events without segments have null.
        if segments.content is None or not segments.has(match['action']):
            continue
        begin = _stages(event)[0].entries(at_least=1)[0].seconds()
        stages = _stages(segments.field(match['action']))
        start = begin + stages[0].entries(at_least=1)[0].seconds()
        end = begin + stages[-1].entries(at_least=2)[1].seconds()
        return match['video'], start, end
    files = ', '.join(str(annotation.path) for annotation in annotations)
    raise ValueError(
        f'the temporal annotation in {files} has no times for {clip}; download the '
        'annotation of the same version as the lists'
    )


def _stages(timed: Value) -> list[Value]:
    """Return the start and end of each stage of an event or a sub-action."""
    return timed.field('timestamps').entries(at_least=1)


def find_ffmpeg() -> str:
    """Find the system's ffmpeg, or the one of ``imageio-ffmpeg``.

    Raises:
        FileNotFoundError: If neither is installed.
    """
    path = shutil.which('ffmpeg')
    if path is None:
        try:
            from imageio_ffmpeg import get_ffmpeg_exe

            path = get_ffmpeg_exe()
        except (ImportError, RuntimeError):
            raise FileNotFoundError(
                'ffmpeg is needed to cut the sub-actions, but was not found; install '
                'it with the system package manager, or pip install imageio-ffmpeg'
            ) from None
    return path


def _cut(ffmpeg: str, cut: Cut) -> str | None:
    # ffmpeg selects the container by the file extension.
    partial = cut.out.with_name(f'{cut.out.stem}.partial.mp4')
    command = [ffmpeg, '-nostdin', '-loglevel', 'error', '-y']
    command += ['-ss', f'{cut.start:.3f}', '-i', str(cut.video)]
    command += ['-t', f'{cut.duration:.3f}', '-an', '-c:v', 'libx264']
    command += ['-pix_fmt', 'yuv420p', '-threads', '1', str(partial)]
    done = subprocess.run(command, capture_output=True, check=False)
    stderr = done.stderr.decode(errors='replace').strip()
    problem = (stderr or f'exit code {done.returncode}').splitlines()[-1]
    if done.returncode == 0:
        found = video_problem(partial)
        problem = f'the piece {found[1]}' if found else None
    if problem is None:
        partial.replace(cut.out)
    else:
        partial.unlink(missing_ok=True)
    return problem


def _label_set(
    name: str, num_classes: int, published: dict, fingerprint: str
) -> LabelSet:
    return LabelSet(
        name=name,
        num_classes=num_classes,
        published=published,
        orders={'official': fingerprint},
        list_name=f'{name}_{{split}}_list_{{kind}}.txt',
        host_list_names={
            'videos': f'annotations/{name}_{{split}}.txt',
            'rawframes': f'annotations/{name}_{{split}}_frame.txt',
        },
        class_file=f'{name}_classes.txt',
    )


GYM = Dataset(
    name='gym',
    label_sets=(
        _label_set(
            'gym99',
            99,
            {
                'v1.0': {'train': 20484, 'val': 8521},
                'v1.1': {'train': 26320, 'val': 8521},
            },
            '4094a66948675b10',
        ),
        _label_set(
            'gym288',
            288,
            {
                'v1.0': {'train': 22671, 'val': 9646},
                'v1.1': {'train': 29334, 'val': 9646},
            },
            '738f20f9efb62555',
        ),
    ),
    media=(
        Media('videos', 'subactions', ('subactions',)),
        Media('rawframes', 'subaction_frames', ('subaction_frames',)),
    ),
    read_annotations=read_annotations,
    loses_videos=True,
    default_version='v1.0',
    make_media=cut_subactions,
)
