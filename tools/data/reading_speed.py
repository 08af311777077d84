# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Measure how many clips a second the Something-Something pipeline reads."""

import argparse
import importlib.util
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.utils import track_iter_progress
from torch.utils.data import DataLoader

import selfy_mmaction  # noqa: F401  registers everything
from selfy_mmaction.data_preparation.decoding import DECODERS

CONFIG = (
    Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets' / 'sthv2.py'
).resolve()
SIZE = (427, 240)
# As Something-Something V2, or what every OpenCV can write.
CODECS = (('VP90', '.webm'), ('mp4v', '.mp4'))
SHIPPED = 'Decord, num_threads=1'


def write_data(folder: Path, num_clips: int, num_frames: int) -> str:
    """Write clips of a moving texture as videos and as frames, with their lists.

    Returns:
        The code of the codec.

    Raises:
        RuntimeError: OpenCV can write none of the codecs.
    """
    (folder / 'videos').mkdir()
    (folder / 'classes.txt').write_text('Moving something\n')
    for codec, ending in CODECS:
        if _writer(folder / 'videos' / f'0000{ending}', codec).isOpened():
            break
    else:
        raise RuntimeError(
            f'this OpenCV writes none of {[codec for codec, _ in CODECS]}; install '
            'opencv-python from PyPI'
        )
    lists = {'videos': [], 'rawframes': []}
    for clip in track_iter_progress(range(num_clips)):
        name = f'{clip:04}{ending}'
        frames = folder / 'rawframes' / f'{clip:04}'
        frames.mkdir(parents=True)
        writer = _writer(folder / 'videos' / name, codec)
        for number, image in enumerate(_moving_texture(clip, num_frames), start=1):
            writer.write(image)
            cv2.imwrite(str(frames / f'img_{number:05}.jpg'), image)
        writer.release()
        lists['videos'].append(f'{name} 0\n')
        lists['rawframes'].append(f'{clip:04} {num_frames} 0\n')
    for kind, lines in lists.items():
        (folder / f'{kind}.txt').write_text(''.join(lines))
    return codec


def _writer(path: Path, codec: str) -> cv2.VideoWriter:
    return cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 12, SIZE)


def _moving_texture(seed: int, num_frames: int):
    rng = np.random.default_rng(seed)
    width, height = SIZE
    margin = 2 * num_frames
    noise = rng.integers(0, 256, (height + margin, width + margin, 3), np.uint8)
    texture = cv2.normalize(
        cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX
    )
    for number in range(num_frames):
        yield np.ascontiguousarray(texture[number:, 2 * number :][:height, :width])


def readers() -> dict[str, dict[str, Any]]:
    """What is compared: arguments of :func:`build` by name."""
    compared = {
        f'Decord, num_threads={threads}': dict(decoder='Decord', num_threads=threads)
        for threads in (1, 2, 4, 0)
    }
    compared[f"{SHIPPED}, on_unreadable='skip'"] = dict(
        decoder='Decord', num_threads=1, on_unreadable='skip'
    )
    for decoder in ('OpenCV', 'PyAV'):
        if importlib.util.find_spec(DECODERS[decoder]):
            compared[decoder] = dict(decoder=decoder)
    compared['RawFrame'] = dict(decoder='RawFrame')
    return compared


def build(
    folder: Path,
    decoder: str,
    num_threads: int | None = None,
    on_unreadable: str = 'fail',
) -> Any:
    """Build the training dataset of Something-Something V2 on written data.

    Args:
        folder: Folder of :func:`write_data`.
        decoder: Value for SELFY_DECODER.
        num_threads: Threads of a decord reader, None for the config's.
        on_unreadable: Policy of the dataset.
    """
    os.environ['SELFY_DECODER'] = decoder
    try:
        dataset = Config.fromfile(CONFIG).train_dataloader.dataset
    finally:
        del os.environ['SELFY_DECODER']
    ((prefix, path),) = dataset.data_prefix.items()
    dataset.data_prefix[prefix] = str(folder / Path(path).name)
    dataset.ann_file = str(folder / f'{Path(path).name}.txt')
    dataset.num_classes = 1
    dataset.on_unreadable = on_unreadable
    for step in dataset.pipeline:
        if step.type == 'SelectiveFlip':
            step.class_names = str(folder / 'classes.txt')
    if num_threads is not None:
        dataset.pipeline[0].num_threads = num_threads
    return DATASETS.build(dataset)


def measure(dataset: Any, batch_size: int, num_workers: int) -> float:
    """Clips per second of one epoch; the workers' start does not count."""
    loader = DataLoader(
        dataset,
        batch_size,
        num_workers=num_workers,
        collate_fn=pseudo_collate,
        persistent_workers=num_workers > 0,
    )
    for _ in loader:  # files are in memory, workers are running
        pass
    start = time.perf_counter()
    for _ in loader:
        pass
    return len(dataset) / (time.perf_counter() - start)


def compare(
    folder: Path, batch_size: int, num_workers: int, repeats: int
) -> dict[str, list[float]]:
    """Clips per second of each measurement, by reader.

    All are measured in turns, so that a busy moment meets each alike.
    """
    datasets = {name: build(folder, **how) for name, how in readers().items()}
    speeds = {name: [] for name in datasets}
    for name in track_iter_progress([*datasets] * repeats):
        speeds[name].append(measure(datasets[name], batch_size, num_workers))
    return speeds


def table(speeds: dict[str, list[float]]) -> str:
    """Markdown table of medians and ratios to what the configs ship."""
    lines = [
        '| reader | clips/s | ratio | lowest to highest ratio |',
        '| --- ' * 4 + '|',
    ]
    for name, values in speeds.items():
        # Each against the shipped reader in the same round.
        ratios = [a / b for a, b in zip(values, speeds[SHIPPED], strict=True)]
        lines.append(
            f'| {name} | {statistics.median(values):.1f} | '
            f'{statistics.median(ratios):.2f} | '
            f'{min(ratios):.2f} to {max(ratios):.2f} |'
        )
    return '\n'.join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--clips', type=int, default=60, help='clips (default 60)')
    parser.add_argument('--frames', type=int, default=40, help='a clip (default 40)')
    parser.add_argument(
        '--workers',
        type=int,
        default=os.cpu_count(),
        help='processes that read (default: the number of processors)',
    )
    parser.add_argument('--batch-size', type=int, default=8, help='default 8')
    parser.add_argument('--repeats', type=int, default=5, help='default 5')
    parser.add_argument('--out', type=Path, help='JSON file for all measurements')
    args = parser.parse_args()
    for name in ('clips', 'frames', 'batch_size', 'repeats'):
        if getattr(args, name) < 1:
            option = name.replace('_', '-')
            parser.error(f'--{option} must be at least 1, got {getattr(args, name)}')
    if args.workers < 0:
        parser.error(f'--workers must be at least 0, got {args.workers}')
    if args.out and not args.out.parent.is_dir():
        parser.error(f'--out {args.out}: the folder {args.out.parent} does not exist')
    MMLogger.get_instance('reading_speed', log_level='ERROR')
    init_default_scope('mmaction')
    cv2.setNumThreads(0)  # as the configs' env_cfg does
    with tempfile.TemporaryDirectory() as folder:
        codec = write_data(Path(folder), args.clips, args.frames)
        speeds = compare(Path(folder), args.batch_size, args.workers, args.repeats)
    print(
        f'\n{args.clips} clips of {args.frames} frames, {SIZE[1]}x{SIZE[0]}, {codec}; '
        f'8 frames read; {args.workers} workers; median of {args.repeats}\n'
    )
    print(table(speeds))
    if args.out:
        args.out.write_text(
            json.dumps(dict(vars(args), out=str(args.out), clips_per_s=speeds))
        )


if __name__ == '__main__':
    main()
