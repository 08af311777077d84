# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Writing of the benchmark: encoded clips, annotation files and fingerprint."""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from mmengine.utils import ProgressBar

from selfy_mmaction.atomic_files import PARTIAL, replacing

from .drawing import FRAME_SIZE, NUM_FRAMES
from .presets import class_names, clip_label, get_preset

FRAMES_PER_SECOND = 12
JPEG_QUALITY = 20
CLIPS_WORTH_A_WORKER = 200
"""Number of clips that take about as long to write as a process takes to start."""


@dataclass(frozen=True)
class _Task:
    """Partners to write."""

    preset: str
    seed: int
    split: str
    group: int
    paths: tuple[Path, ...]


def make_motion(
    out: str | os.PathLike,
    preset: str = 'small',
    seed: int = 0,
    workers: int | None = None,
) -> dict:
    """Write the missing files of the benchmark to a folder.

    Complete clips are kept, so the same call resumes an interrupted run. The files do
    not depend on the number of workers. Two runs must not write to the same folder at
    the same time. Worker processes are spawned: in a script, call this function under
    ``if __name__ == '__main__':`` unless ``workers`` is 1.

    Args:
        out: Folder to write to; created if missing.
        preset: Name in ``PRESETS``. Default: ``'small'``.
        seed: Seed of all random numbers, at least 0. Default: 0.
        workers: Number of processes, at least 1. Default: None, the number of
            processors, or fewer if there are few clips to write.

    Returns:
        The content of ``motion.json``.

    Raises:
        ValueError: If the preset, the seed or the number of workers is invalid, or an
            existing ``motion.json`` is damaged.
        FileExistsError: If ``out`` contains anything but this benchmark with this
            preset, seed and generator version.
        OSError: If ``out`` cannot be written to.
        RuntimeError: If the files differ from those of the finished run.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from selfy_mmaction.motion_benchmark import make_motion
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     record = make_motion(folder, preset='tiny', workers=1)
        ...     print(Path(folder, 'val.txt').read_text().splitlines()[0])
        val/00000.avi 0
        >>> record['clips']
        {'train': 24, 'val': 16, 'val_flicker': 16}
    """
    chosen = get_preset(preset)
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f'seed must be an integer of at least 0, got {seed!r}')
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise ValueError(f'workers must be an integer of at least 1, got {workers!r}')

    out = Path(out)
    identity = {'version': chosen.version, 'preset': preset, 'seed': seed}
    recorded = _claim_folder(out, identity)

    for split in chosen.splits:
        (out / 'videos' / split).mkdir(parents=True, exist_ok=True)
    tasks = [
        task
        for task in _tasks(out, preset, seed)
        if not all(_is_whole(path) for path in task.paths)
    ]
    if tasks:
        _write_groups(tasks, workers)
    lists = _lists(preset)
    for name, text in lists.items():
        if not (out / name).exists():
            _write_text(out / name, text)

    clips = [path for task in _tasks(out, preset, seed) for path in task.paths]
    files = [*clips, *(out / name for name in lists)]
    fingerprint = _fingerprint(out, files)
    if recorded.get('fingerprint', fingerprint) != fingerprint:
        raise RuntimeError(
            f'the files in {out} have fingerprint {fingerprint}, but '
            f'{recorded["fingerprint"]} was recorded: a file was changed, or generated '
            'again with other versions of numpy or OpenCV (recorded: '
            f'{recorded.get("libraries")}); delete the folder and generate it again'
        )
    summary = {
        **identity,
        'classes': len(class_names(preset)),
        'clips': dict(chosen.splits),
        'frames': NUM_FRAMES,
        'frame_size': [FRAME_SIZE, FRAME_SIZE],
        'jpeg_quality': JPEG_QUALITY,
        'bytes': sum(path.stat().st_size for path in files),
        'libraries': {'numpy': np.__version__, 'opencv': cv2.__version__},
        'fingerprint': fingerprint,
    }
    # A finished folder keeps its recorded library versions.
    if 'fingerprint' in recorded:
        return {**summary, 'libraries': recorded.get('libraries')}
    _write_text(out / 'motion.json', json.dumps(summary, indent=2) + '\n')
    return summary


def _claim_folder(out: Path, identity: dict) -> dict:
    record = out / 'motion.json'
    if out.exists() and not out.is_dir():
        raise FileExistsError(f'{out} is not a folder; choose another name')
    if record.exists():
        recorded = _read_record(record)
        found = {key: recorded.get(key) for key in identity}
        if found != identity:
            raise FileExistsError(
                f'{out} contains {_in_words(found)}, but {_in_words(identity)} was '
                'requested; choose another folder, or delete this one'
            )
        return recorded
    # A run that is killed before its first file is complete leaves a partial one.
    there = set(out.iterdir()) if out.is_dir() else set()
    leftovers = {path for path in there if path.match(f'*motion.json*{PARTIAL}')}
    if there - leftovers:
        raise FileExistsError(
            f'{out} is not empty and has no motion.json; choose another folder'
        )
    try:
        for path in leftovers:
            path.unlink()
        out.mkdir(parents=True, exist_ok=True)
        _write_text(record, json.dumps(identity, indent=2) + '\n')
    except OSError as error:
        raise type(error)(f'cannot write to {out}: {error}') from error
    return identity


def _read_record(record: Path) -> dict:
    try:
        recorded = json.loads(record.read_text(encoding='utf-8'))
    except (ValueError, RecursionError) as error:
        recorded = error
    if not isinstance(recorded, dict):
        raise ValueError(
            f'{record} is damaged: expected a JSON object, got {str(recorded)[:80]!r}; '
            'delete the folder and generate it again, or choose another'
        )
    return recorded


def _in_words(identity: dict) -> str:
    return (
        f'preset {identity["preset"]!r} with seed {identity["seed"]} of generator '
        f'version {identity["version"]}'
    )


def _tasks(out: Path, preset: str, seed: int) -> Iterator[_Task]:
    chosen = get_preset(preset)
    size = chosen.num_partners
    for split, clips in chosen.splits.items():
        names = [_clip_name(split, index) for index in range(clips)]
        for group in range(clips // size):
            partners = names[size * group : size * (group + 1)]
            paths = tuple(out / 'videos' / name for name in partners)
            yield _Task(preset, seed, split, group, paths)


def _clip_name(split: str, index: int) -> str:
    return f'{split}/{index:05d}.avi'


def _lists(preset: str) -> dict[str, str]:
    chosen = get_preset(preset)
    texts = {'classes.txt': ''.join(f'{name}\n' for name in class_names(preset))}
    for split, clips in chosen.splits.items():
        labels = [clip_label(preset, index) for index in range(clips)]
        texts[f'{split}.txt'] = _annotation_list(split, labels)
    if chosen.version > 1:
        clips = range(chosen.splits['train'])
        scenes = [index // chosen.num_partners for index in clips]
        texts['train_scenes.txt'] = _annotation_list('train', scenes)
    return texts


def _annotation_list(split: str, labels: Sequence[int]) -> str:
    return ''.join(
        f'{_clip_name(split, index)} {label}\n' for index, label in enumerate(labels)
    )


def _write_groups(tasks: list[_Task], workers: int | None) -> None:
    if workers is None:
        clips = len(tasks) * len(tasks[0].paths)
        workers = min(os.cpu_count() or 1, -(-clips // CLIPS_WORTH_A_WORKER))
    progress = ProgressBar(len(tasks))
    if workers == 1:
        for task in tasks:
            _write_group(task)
            progress.update()
    else:
        # Forking can hang if torch or OpenCV has started threads.
        context = multiprocessing.get_context('spawn')
        with context.Pool(workers, cv2.setNumThreads, (0,)) as pool:
            for _ in pool.imap_unordered(_write_group, tasks, chunksize=4):
                progress.update()
    print()


def _write_group(task: _Task) -> None:
    clips = get_preset(task.preset).render(task.split, task.group, task.seed)
    for path, frames in zip(task.paths, clips, strict=True):
        if not _is_whole(path):
            _write_clip(path, frames)


def _write_clip(path: Path, frames: np.ndarray) -> None:
    # Motion JPEG encodes each frame independently, so partners stay equal as sets of
    # frames after decoding. OpenCV selects the container by the suffix .avi.
    partial = path.with_name(f'{path.stem}.partial.avi')
    writer = cv2.VideoWriter(
        str(partial),
        cv2.CAP_OPENCV_MJPEG,
        cv2.VideoWriter_fourcc(*'MJPG'),
        FRAMES_PER_SECOND,
        (FRAME_SIZE, FRAME_SIZE),
    )
    if not writer.isOpened():
        raise OSError(f'OpenCV cannot write {partial}')
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, JPEG_QUALITY)
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    # OpenCV does not report a full disk.
    if not _is_whole(partial):
        raise OSError(f'{partial} is incomplete; check whether the disk is full')
    os.replace(partial, path)


def _is_whole(clip: Path) -> bool:
    """Return whether a clip exists with the size that its header declares."""
    if not clip.is_file():
        return False
    with clip.open('rb') as file:
        declared = int.from_bytes(file.read(8)[4:], 'little') + 8
    return declared == clip.stat().st_size


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding='utf-8')


def _fingerprint(out: Path, files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f'{content}  {path.relative_to(out).as_posix()}\n'.encode())
    return digest.hexdigest()
