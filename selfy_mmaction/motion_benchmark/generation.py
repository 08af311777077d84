# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Files of the benchmark: encoded clips, annotation lists, and their fingerprint."""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from mmengine.utils import ProgressBar

from selfy_mmaction.atomic_files import PARTIAL, replacing

from .patterns import NUM_FRAMES
from .presets import SPLITS, Preset, class_names, clip_label, get_preset
from .rendering import FRAME_SIZE, render_pair

GENERATOR_VERSION = 1
"""Raised whenever the generator writes other clips for the same preset and seed."""

FRAMES_PER_SECOND = 12
JPEG_QUALITY = 20
PAIRS_WORTH_A_WORKER = 100
"""Pairs that take about as long to write as a spawned process takes to import."""


@dataclass(frozen=True)
class _PairTask:
    seed: int
    split: str
    pair: int
    pattern: str
    axis: str
    paths: tuple[Path, Path]


def make_motion(
    out: str | os.PathLike,
    preset: str = 'small',
    seed: int = 0,
    workers: int | None = None,
) -> dict:
    """Write the benchmark, or what is missing of it, into a folder.

    Clips that are there and whole are kept, so an interrupted run is resumed by the
    same call. The files do not depend on the number of workers. Two runs must not write
    into one folder at the same time. Worker processes are spawned: call this under
    ``if __name__ == '__main__':`` in a script, unless ``workers`` is 1.

    Args:
        out: Folder to write to; created if need be.
        preset: ``tiny``, ``small`` or ``full``. Default: ``small``.
        seed: Seed of all random numbers, at least 0. Default: 0.
        workers: Number of processes, at least 1. Default: the number of processors,
            or fewer when there is too little to do to be worth starting them.

    Returns:
        What ``motion.json`` holds.

    Raises:
        ValueError: If the preset, the seed or the number of workers is not valid, or
            the ``motion.json`` that is there cannot be read.
        FileExistsError: If ``out`` holds something else than this benchmark with
            this preset, seed and generator version.
        OSError: If ``out`` cannot be written to.
        RuntimeError: If the files differ from those that a finished run recorded.
    """
    chosen = get_preset(preset)
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f'seed must be an integer of at least 0, got {seed!r}')
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise ValueError(f'workers must be an integer of at least 1, got {workers!r}')

    out = Path(out)
    identity = {'version': GENERATOR_VERSION, 'preset': preset, 'seed': seed}
    recorded = _claim_folder(out, identity)

    for split in SPLITS:
        (out / 'videos' / split).mkdir(parents=True, exist_ok=True)
    tasks = [
        task
        for task in _pair_tasks(out, chosen, seed)
        if not all(_is_whole(path) for path in task.paths)
    ]
    if tasks:
        _write_pairs(tasks, workers)
    lists = _lists(preset)
    for name, text in lists.items():
        if not (out / name).exists():
            _write_text(out / name, text)

    clips = [path for task in _pair_tasks(out, chosen, seed) for path in task.paths]
    files = [*clips, *(out / name for name in lists)]
    fingerprint = _fingerprint(out, files)
    if recorded.get('fingerprint', fingerprint) != fingerprint:
        raise RuntimeError(
            f'the files in {out} have the fingerprint {fingerprint}, but the run that '
            f'finished them recorded {recorded["fingerprint"]}: one was changed, or '
            'made again with other versions of numpy or OpenCV '
            f'({recorded.get("libraries")} then). Delete the folder and generate it '
            'again'
        )
    summary = {
        **identity,
        'classes': len(class_names(preset)),
        'clips': {split: chosen.num_clips(split) for split in SPLITS},
        'frames': NUM_FRAMES,
        'frame_size': [FRAME_SIZE, FRAME_SIZE],
        'jpeg_quality': JPEG_QUALITY,
        'bytes': sum(path.stat().st_size for path in files),
        'libraries': {'numpy': np.__version__, 'opencv': cv2.__version__},
        'fingerprint': fingerprint,
    }
    # A finished folder keeps the record of the versions that it was made with.
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
                f'{out} holds {_in_words(found)}, but {_in_words(identity)} was asked '
                'for: choose another folder, or delete this one first'
            )
        return recorded
    # A run that was killed before it wrote its first file leaves a partial one.
    there = set(out.iterdir()) if out.is_dir() else set()
    leftovers = {path for path in there if path.match(f'*motion.json*{PARTIAL}')}
    if there - leftovers:
        raise FileExistsError(
            f'{out} is not empty and has no motion.json: choose another folder'
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


def _pair_tasks(out: Path, preset: Preset, seed: int) -> Iterator[_PairTask]:
    for split in SPLITS:
        for pair in range(preset.num_clips(split) // 2):
            pattern, axis = preset.kinds[pair % len(preset.kinds)]
            first, second = (
                out / 'videos' / _clip_name(split, index)
                for index in (2 * pair, 2 * pair + 1)
            )
            yield _PairTask(seed, split, pair, pattern, axis, (first, second))


def _clip_name(split: str, index: int) -> str:
    return f'{split}/{index:05d}.avi'


def _lists(preset: str) -> dict[str, str]:
    texts = {'classes.txt': ''.join(f'{name}\n' for name in class_names(preset))}
    for split in SPLITS:
        texts[f'{split}.txt'] = ''.join(
            f'{_clip_name(split, index)} {clip_label(preset, index)}\n'
            for index in range(get_preset(preset).num_clips(split))
        )
    return texts


def _write_pairs(tasks: list[_PairTask], workers: int | None) -> None:
    if workers is None:
        workers = min(os.cpu_count() or 1, -(-len(tasks) // PAIRS_WORTH_A_WORKER))
    progress = ProgressBar(len(tasks))
    if workers == 1:
        for task in tasks:
            _write_pair(task)
            progress.update()
    else:
        # Forking a process in which torch or OpenCV has started threads can hang.
        context = multiprocessing.get_context('spawn')
        with context.Pool(workers, cv2.setNumThreads, (0,)) as pool:
            for _ in pool.imap_unordered(_write_pair, tasks, chunksize=4):
                progress.update()
    print()


def _write_pair(task: _PairTask) -> None:
    clips = render_pair(task.seed, task.split, task.pair, task.pattern, task.axis)
    for path, frames in zip(task.paths, clips, strict=True):
        if not _is_whole(path):
            _write_clip(path, frames)


def _write_clip(path: Path, frames: np.ndarray) -> None:
    # Every frame of Motion JPEG is coded alone, so a decoded frame is a function of
    # that frame only: partners stay equal as sets of frames after decoding. The name
    # has to end in .avi for OpenCV to choose the container.
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
    # OpenCV says nothing when the disk is full.
    if not _is_whole(partial):
        raise OSError(f'{partial} is not complete; is the disk full?')
    os.replace(partial, path)


def _is_whole(clip: Path) -> bool:
    """Whether a clip is there, with as many bytes as its header announces."""
    if not clip.is_file():
        return False
    with clip.open('rb') as file:
        announced = int.from_bytes(file.read(8)[4:], 'little') + 8
    return announced == clip.stat().st_size


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding='utf-8')


def _fingerprint(out: Path, files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f'{content}  {path.relative_to(out).as_posix()}\n'.encode())
    return digest.hexdigest()
