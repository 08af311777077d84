# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Links from the prepared folder to videos and frames."""

import os
from pathlib import Path

from .layout import SPLITS, Dataset, Media


def link_media(dataset: Dataset, raw: Path, out: Path, overwrite: bool) -> list[Media]:
    """Link the media of a download into the prepared folder.

    Returns:
        The kinds of media that exist.

    Raises:
        FileExistsError: If a link points to another folder.
        FileNotFoundError: If there are no media, or those of only one split.
    """
    present = []
    for media in dataset.media:
        folders = {split: media.folder.format(split=split) for split in SPLITS}
        for split, folder in folders.items():
            sources = [
                raw / name.format(split=split)
                for name in media.raw_folders
                if (raw / name.format(split=split)).is_dir()
            ]
            if sources:
                link_folder(out / folder, sources[0], overwrite)
        there = {split for split in SPLITS if (out / folders[split]).is_dir()}
        if len(there) == len(SPLITS):
            present.append(media)
        elif there:
            raise FileNotFoundError(
                f'{out} has only the {media.kind} of {", ".join(there)}; expected '
                f'{" and ".join(folders.values())}'
            )
    if not present:
        wanted = [name for media in dataset.media for name in media.raw_folders]
        raise FileNotFoundError(
            f'no videos or frames of {dataset.name} found; expected one of '
            f'{", ".join(wanted)} in {raw}'
        )
    return present


def link_folder(target: Path, source: Path, overwrite: bool) -> None:
    """Link a folder, unless the target is a folder already.

    Args:
        target: The link.
        source: The folder.
        overwrite: Whether to replace a link to another folder.

    Raises:
        FileExistsError: If the target is a link to another folder.
        OSError: If the link cannot be made.
    """
    if target.is_symlink() and target.resolve() != source.resolve():
        if not overwrite:
            raise FileExistsError(
                f'{target} points to {os.readlink(target)}, not to {source}; use '
                '--overwrite, or delete the link'
            )
        target.unlink()
    # An existing folder in `out` wins: configs read from there.
    if not target.exists():
        target.symlink_to(source.resolve(), target_is_directory=True)
