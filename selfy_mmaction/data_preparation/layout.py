# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Description of a dataset: labels, media and official files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SPLITS = ('train', 'val')

ANNOTATION_FOLDERS = ('', 'annotations', 'labels')
"""Subfolders of the user's folder in which official files are searched."""


@dataclass(frozen=True)
class Annotation:
    """Content of the official files of one label set.

    Attributes:
        label_set: Name of the label set, such as ``gym99``.
        version: Version of the labels, such as ``v1.0``.
        class_names: Names in the order of the official file; empty if the files have
            label numbers without names.
        splits: Per split, the label of each clip as an index of ``class_names``.
        repeated: Clips listed more than once with the same label, and where.
    """

    label_set: str
    version: str
    class_names: tuple[str, ...]
    splits: Mapping[str, Mapping[str, int]]
    repeated: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelSet:
    """One labeling of a dataset, with its known lists and classes.

    Attributes:
        name: Name, such as ``gym99``.
        num_classes: Number of classes.
        published: Number of clips per version of the labels and split.
        orders: Fingerprint of the class names per known order.
        list_name: Template of list names, with ``split``, ``kind`` and ``version``.
        host_list_names: Per kind, the template of mmaction2's scripts if it differs.
        class_file: Name of the file of class names.
    """

    name: str
    num_classes: int
    published: Mapping[str, Mapping[str, int]]
    orders: Mapping[str, str]
    list_name: str
    host_list_names: Mapping[str, str] = field(default_factory=dict)
    class_file: str = 'classes.txt'


@dataclass(frozen=True)
class Media:
    """Videos or folders of frames in the prepared folder.

    Attributes:
        kind: ``'videos'`` or ``'rawframes'``.
        folder: Subfolder of the prepared folder; may contain ``{split}``.
        raw_folders: Candidate subfolders of the download; the first existing one wins.
        depth: 2 if clips may be in one folder per class. Default: 1.
        frame_name: Template of frame names, numbered from 1. Default:
            ``'img_{:05}.jpg'``.
    """

    kind: str
    folder: str
    raw_folders: tuple[str, ...]
    depth: int = 1
    frame_name: str = 'img_{:05}.jpg'


@dataclass(frozen=True)
class Dataset:
    """Dataset that can be prepared and checked.

    Attributes:
        name: Name on the command line.
        label_sets: Label sets.
        media: Kinds of media.
        read_annotations: Function that reads the official files in a folder. Returns
            one annotation per available label set and version. Raises a
            ``FileNotFoundError`` or ``ValueError`` for a missing or malformed file.
        arrange: Function per selectable order of the classes that rearranges the
            official order; the first is the default.
        loses_videos: Whether videos disappear from the web, so that copies differ.
        default_version: Version of the labels to prepare. Default: None, all versions.
        make_media: Function (raw, out, clips, workers) -> None that creates media from
            the download. Default: None.
    """

    name: str
    label_sets: tuple[LabelSet, ...]
    media: tuple[Media, ...]
    read_annotations: Callable[[Path], list[Annotation]]
    arrange: Mapping[str, Callable[[tuple[str, ...]], list[str]]] = field(
        default_factory=lambda: {'official': list}
    )
    loses_videos: bool = False
    default_version: str | None = None
    make_media: Callable[[Path, Path, list[str], int | None], None] | None = None

    def label_set(self, name: str) -> LabelSet:
        """Return the label set with the given name."""
        return next(chosen for chosen in self.label_sets if chosen.name == name)


def find_file(root: Path, *names: str, what: str) -> Path:
    """Find an official file in a folder or its ``annotations`` or ``labels``.

    Args:
        root: Folder to search.
        names: Known names of the file; the first existing one wins.
        what: Description of the file for the message.

    Raises:
        FileNotFoundError: If none of the names exists.
    """
    found = search_file(root, *names)
    if found is not None:
        return found
    raise FileNotFoundError(
        f'{what} not found: expected {" or ".join(names)} in {root} or its '
        'annotations/ or labels/; see docs/data.md for what to download'
    )


def search_file(root: Path, *names: str) -> Path | None:
    """Find an official file like :func:`find_file`, but return None if missing."""
    for name in names:
        for folder in ANNOTATION_FOLDERS:
            if (root / folder / name).is_file():
                return root / folder / name
    return None
