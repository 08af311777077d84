# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Writing of lists of the clips whose media exist."""

from dataclasses import dataclass
from pathlib import Path

from selfy_mmaction.atomic_files import replacing

from .layout import Media
from .media import VIDEO_SUFFIXES, count_frames, index_media, run_parallel


@dataclass(frozen=True)
class Scan:
    """Paths and frames of the clips in a folder of media.

    Attributes:
        folder: Folder of the media.
        first_frame: Name of the first frame of a clip.
        paths: Path of each clip in the folder.
        frames: Highest frame number and missing frames of each clip; None for videos.
    """

    folder: Path
    first_frame: str
    paths: dict[str, str]
    frames: dict[str, tuple[int, list[str]]] | None


def scan_media(
    out: Path, media: Media, split: str, wanted: set[str], workers: int | None
) -> Scan:
    """Find the media of a split and count the frames of the wanted clips."""
    folder = out / media.folder.format(split=split)
    paths = index_media(folder, media.kind, media.depth)
    frames = None
    if media.kind == 'rawframes':
        clips = sorted(wanted & paths.keys())
        counts = run_parallel(
            lambda clip: count_frames(folder / paths[clip], media.frame_name),
            clips,
            workers,
            f'counting the frames of {split}',
        )
        frames = dict(zip(clips, counts, strict=True))
    return Scan(folder, media.frame_name.format(1), paths, frames)


def make_list(
    name: str, clips: dict[str, int], scan: Scan, may_miss: bool, may_be_damaged: bool
) -> tuple[str, int]:
    """Return the text of a list and the number of clips left out."""
    missing = [clip for clip in clips if clip not in scan.paths]
    if missing:
        suffixes = f' as {", ".join(VIDEO_SUFFIXES)}' if scan.frames is None else ''
        _leave_out(
            f'{len(missing)} of {len(clips)} clips are not in {scan.folder}{suffixes} '
            f'(first: {missing[0]!r})',
            may_miss,
            'complete the download',
        )
    damaged, lines = [], []
    for clip, label in clips.items():
        if clip not in scan.paths:
            continue
        if scan.frames is None:
            lines.append(f'{scan.paths[clip]} {label}\n')
            continue
        number, gaps = scan.frames[clip]
        if gaps or not number:
            damaged.append(f'{clip} (without {gaps[0] if gaps else scan.first_frame})')
        else:
            lines.append(f'{scan.paths[clip]} {number} {label}\n')
    if damaged:
        _leave_out(
            f'{len(damaged)} clips in {scan.folder} lack frames, first: {damaged[0]}',
            may_be_damaged,
            'extract them again',
        )
    if not lines:
        raise ValueError(
            f'{name} would be empty: {scan.folder} has none of the {len(clips)} clips '
            'in the official files; put them there'
        )
    return ''.join(lines), len(missing) + len(damaged)


def _leave_out(message: str, allowed: bool, fix: str) -> None:
    if not allowed:
        raise ValueError(f'{message}; {fix} (--allow-partial leaves them out)')
    print(f'note: {message}; they are left out')


def write_files(out: Path, texts: dict[str, str], overwrite: bool) -> None:
    """Write files unless they exist with equivalent content.

    Raises:
        FileExistsError: If a file exists and differs; no file is written then.
    """
    changed = []
    for name, text in texts.items():
        path = out / name
        if path.exists() and _same(path, text):
            continue
        if path.exists() and not overwrite:
            raise FileExistsError(
                f'{path} exists and differs from the new content; check it, then use '
                '--overwrite or another --out'
            )
        changed.append(path)
    for path in changed:
        with replacing(path) as partial:
            partial.write_bytes(texts[path.name].encode())


def _same(path: Path, text: str) -> bool:
    there, wanted = path.read_bytes(), text.encode()
    if there == wanted:
        return True
    # mmaction2's scripts shuffle the lists, which are equally valid.
    return '_list_' in path.name and sorted(there.splitlines()) == sorted(
        wanted.splitlines()
    )
