# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Files of predictions, and tables for the terminal."""

import csv
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selfy_mmaction.atomic_files import replacing

from .prediction import Prediction

FORMATS = ('.csv', '.json', '.jsonl')
_COLUMNS = (
    *('video', 'start', 'end', 'rank', 'label', 'name', 'probability'),
    *('decode_seconds', 'model_seconds', 'note', 'error'),
)
# A large file is not written again for each video.
_SECONDS = 2


class ResultsFile:
    """A file of predictions that is complete at any time.

    ``.json`` holds ``predictions`` and ``errors``. ``.jsonl`` holds one prediction or
    error per line. ``.csv`` has one row per class of a prediction, the most probable
    first, and one per error. All are in UTF-8. The file is replaced as a whole every
    two seconds, and when the ``with`` statement ends for whatever reason. An existing
    file is replaced when there is a new result.

    Args:
        path: Path that ends in ``.csv``, ``.json`` or ``.jsonl``.

    Raises:
        FileNotFoundError: If its folder does not exist.
        OSError: If it cannot be written.
        ValueError: If it has another extension.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = check_results_path(path)
        self._predictions: list[dict[str, Any]] = []
        self._errors: list[dict[str, str]] = []
        # Fail before long work if it cannot be written, but keep earlier results until
        # there are new ones.
        if self.path.exists():
            self.path.open('r+b').close()
            self._due = 0.0
        else:
            self._write()

    def __enter__(self) -> 'ResultsFile':
        return self

    def __exit__(self, error: type | None, *details: object) -> None:
        if error is None or self._predictions or self._errors:
            self._write()

    def add(self, prediction: Prediction) -> None:
        """Add a prediction."""
        self._predictions.append(prediction.as_dict())
        self._write_if_due()

    def add_error(self, video: str, error: str) -> None:
        """Add a video that could not be read."""
        self._errors.append(dict(video=video, error=error))
        self._write_if_due()

    def _write_if_due(self) -> None:
        if time.monotonic() >= self._due:
            self._write()

    def _write(self) -> None:
        begin = time.monotonic()
        with (
            replacing(self.path) as partial,
            partial.open('w', encoding='utf-8', newline='') as file,
        ):
            if self.path.suffix.lower() == '.csv':
                writer = csv.DictWriter(file, _COLUMNS)
                writer.writeheader()
                for prediction in self._predictions:
                    row = {key: prediction[key] for key in prediction if key != 'top'}
                    for rank, each in enumerate(prediction['top'], start=1):
                        writer.writerow(dict(row, rank=rank, **each))
                writer.writerows(self._errors)
            elif self.path.suffix.lower() == '.json':
                content = dict(predictions=self._predictions, errors=self._errors)
                json.dump(content, file, indent=2, ensure_ascii=False)
                file.write('\n')
            else:
                for line in (*self._predictions, *self._errors):
                    file.write(json.dumps(line, ensure_ascii=False) + '\n')
        # Writing takes at most a tenth of the time.
        end = time.monotonic()
        self._due = end + max(_SECONDS, 10 * (end - begin))


def check_results_path(path: str | os.PathLike) -> Path:
    """Return a path to write results to.

    Raises:
        FileNotFoundError: If its folder does not exist.
        ValueError: If it does not end in one of ``FORMATS``, or is a folder.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS or path.is_dir():
        raise ValueError(
            f'{path} is not a file that ends in {", ".join(FORMATS)}, nor an existing '
            'folder'
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f'{path}: the folder {path.parent} does not exist; create it'
        )
    return path


def show_prediction(prediction: Prediction) -> str:
    """Format a prediction: a line with the video and one line per class."""
    end = prediction.end
    seconds = '' if end is None else f'  {prediction.start:.2f} to {end:.2f} s'
    note = f'  note: {prediction.note}' if prediction.note else ''
    lines = [
        f'{prediction.video}{seconds}  (decoding {prediction.decode_seconds:.3f} s, '
        f'network {prediction.model_seconds:.3f} s){note}'
    ]
    lines += [f'  {each.probability:8.2%}  {each.name}' for each in prediction.top]
    return '\n'.join(lines)


def show_window(prediction: Prediction) -> str:
    """Format a window of a video in one line: seconds and the most probable class."""
    best = prediction.top[0]
    note = f'  note: {prediction.note}' if prediction.note else ''
    return (
        f'  {show_time(prediction.start)} - {show_time(prediction.end or 0)}  '
        f'{best.probability:7.2%}  {best.name}{note}'
    )


def show_time(seconds: float) -> str:
    """Format seconds as hours, minutes and seconds, such as ``0:01:02.50``."""
    hundredths = round(seconds * 100)
    minutes, rest = divmod(hundredths, 6000)
    return f'{minutes // 60}:{minutes % 60:02d}:{rest // 100:02d}.{rest % 100:02d}'


def name_pictures(videos: Sequence[str], folder: Path) -> dict[str, Path]:
    """Choose a different file for the picture of each video.

    The picture of ``a/clip.mp4`` is ``clip.mp4.png``. Where several videos have one
    name, the names of their folders are added.

    Args:
        videos: Paths of the videos, all different.
        folder: Folder of the pictures.

    Returns:
        The paths by video.
    """
    names: dict[str, Path] = {}
    parts = {video: Path(os.path.realpath(video)).parts for video in videos}
    for video in videos:
        length = 1
        while any(
            other != video and parts[other][-length:] == parts[video][-length:]
            for other in videos
        ):
            length += 1
        kept = [part.strip('/\\:') or 'root' for part in parts[video][-length:]]
        names[video] = folder.joinpath(*kept[:-1], f'{kept[-1]}.png')
    return names
