# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Measure how many clips per second the Something-Something pipeline reads."""

import argparse
import importlib.util
import os
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
from torch.utils.data import DataLoader, Dataset

import selfy_mmaction  # noqa: F401  registers everything
from selfy_mmaction.data_preparation.decoding import DECODERS

CONFIG = Path(__file__).resolve().parents[2] / 'configs/_base_/datasets/sthv2.py'
SIZE = (427, 240)
# The codec of Something-Something V2, and one that every OpenCV can write.
CODECS = (('VP90', '.webm'), ('mp4v', '.mp4'))

# Decoders, with options of the dataset or of the step that opens videos. Ratios refer
# to the first entry, the default of the configs.
READERS = [
    *(dict(decoder='Decord', num_threads=number) for number in (1, 2, 4, 0)),
    dict(decoder='Decord', num_threads=1, on_unreadable='skip'),
    dict(decoder='OpenCV'),
    dict(decoder='RawFrame'),
]
if importlib.util.find_spec(DECODERS['PyAV']):
    READERS.append(dict(decoder='PyAV'))


def name_of(decoder: str, **changes: Any) -> str:
    """Format a reader's name, such as ``Decord, num_threads=1``."""
    return ', '.join([decoder, *(f'{key}={value!r}' for key, value in changes.items())])


def write_data(folder: Path, num_clips: int, num_frames: int) -> str:
    """Write clips of a moving texture as videos and as frames, with their lists.

    Args:
        folder: An empty folder.
        num_clips: Number of clips.
        num_frames: Frames per clip.

    Returns:
        Four-character code of the codec.

    Raises:
        RuntimeError: If OpenCV can write none of the codecs.
    """
    (folder / 'videos').mkdir()
    (folder / 'classes.txt').write_text('Moving something\n')
    lists = dict(videos='', rawframes='')
    for clip in track_iter_progress(range(num_clips)):
        images = folder / 'rawframes' / f'{clip:04}'
        images.mkdir(parents=True)
        for codec, ending in CODECS:
            video = folder / 'videos' / f'{clip:04}{ending}'
            fourcc = cv2.VideoWriter_fourcc(*codec)
            writer = cv2.VideoWriter(str(video), fourcc, 12, SIZE)
            if writer.isOpened():
                break
        else:
            raise RuntimeError(
                f'OpenCV cannot write any of {CODECS}; install opencv-python from PyPI'
            )
        noise = np.random.default_rng(clip).integers(0, 256, (15, 27, 3), np.uint8)
        texture = cv2.resize(noise, SIZE, interpolation=cv2.INTER_CUBIC)
        for number in range(num_frames):
            image = np.roll(texture, (number, 2 * number), (0, 1))
            writer.write(image)
            cv2.imwrite(str(images / f'img_{number + 1:05}.jpg'), image)
        writer.release()
        lists['videos'] += f'{video.name} 0\n'
        lists['rawframes'] += f'{images.name} {num_frames} 0\n'
    for kind, text in lists.items():
        (folder / f'{kind}.txt').write_text(text)
    return codec


def build(
    folder: Path, decoder: str, num_threads: int | None = None, **changes: Any
) -> Dataset:
    """Build the training dataset of Something-Something V2 on generated data.

    Args:
        folder: Folder that :func:`write_data` filled.
        decoder: Value of SELFY_DECODER.
        num_threads: Threads per decord reader. Default: None, which keeps the value of
            the config.
        changes: Other options of the dataset.
    """
    os.environ['SELFY_DECODER'] = decoder
    try:
        dataset = Config.fromfile(CONFIG).train_dataloader.dataset
    finally:
        del os.environ['SELFY_DECODER']
    ((prefix, path),) = dataset.data_prefix.items()
    kind = Path(path).name
    dataset.update(
        data_prefix={prefix: str(folder / kind)},
        ann_file=str(folder / f'{kind}.txt'),
        num_classes=1,
        **changes,
    )
    for step in dataset.pipeline:
        if 'class_names' in step:
            step.class_names = str(folder / 'classes.txt')
    if num_threads is not None:
        dataset.pipeline[0].num_threads = num_threads
    return DATASETS.build(dataset)


def clips_per_second(dataset: Dataset, batch_size: int, num_workers: int) -> float:
    """Measure the speed of one epoch, excluding the start of the workers."""
    loader = DataLoader(
        dataset,
        batch_size,
        num_workers=num_workers,
        collate_fn=pseudo_collate,
        persistent_workers=num_workers > 0,
    )
    for _ in loader:  # warm-up: caches the files and starts the workers
        pass
    start = time.perf_counter()
    for _ in loader:
        pass
    return len(dataset) / (time.perf_counter() - start)


def table(speeds: dict[str, list[float]]) -> str:
    """Format medians, and ratios to the first reader per round, as a Markdown table."""
    lines = ['| reader | clips/s | ratio | lowest to highest ratio |']
    lines.append('| --- ' * 4 + '|')
    baseline = next(iter(speeds.values()))
    for name, values in speeds.items():
        ratios = np.divide(values, baseline)
        lines.append(
            f'| {name} | {np.median(values):.1f} | {np.median(ratios):.2f} | '
            f'{ratios.min():.2f} to {ratios.max():.2f} |'
        )
    return '\n'.join(lines)


OPTIONS = (
    # Name, default, minimum, help.
    ('clips', 60, 1, 'number of clips'),
    ('frames', 40, 1, 'frames per clip'),
    ('workers', os.cpu_count(), 0, 'reading processes'),
    ('batch-size', 8, 1, 'clips per batch'),
    ('repeats', 5, 1, 'rounds; each measures every reader once'),
)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    for name, default, _, text in OPTIONS:
        parser.add_argument(f'--{name}', type=int, default=default, help=text)
    args = parser.parse_args()
    for name, _, least, _ in OPTIONS:
        value = getattr(args, name.replace('-', '_'))
        if value < least:
            parser.error(f'--{name} must be at least {least}, got {value}')
    MMLogger.get_instance('reading_speed', log_level='ERROR')
    init_default_scope('mmaction')
    cv2.setNumThreads(0)  # like env_cfg in the configs
    with tempfile.TemporaryDirectory() as folder:
        codec = write_data(Path(folder), args.clips, args.frames)
        datasets = {name_of(**how): build(Path(folder), **how) for how in READERS}
        speeds = {name: [] for name in datasets}
        # Readers take turns, so that varying machine load affects all of them alike.
        for name in track_iter_progress([*datasets] * args.repeats):
            speed = clips_per_second(datasets[name], args.batch_size, args.workers)
            speeds[name].append(speed)
    print(
        f'\n{args.clips} clips of {args.frames} frames, {SIZE[1]}x{SIZE[0]}, {codec}; '
        f'8 frames read; {args.workers} workers; median of {args.repeats}\n'
    )
    print(table(speeds))


if __name__ == '__main__':
    main()
