# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""How a dataset is described: its labels, its media, and its official files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SPLITS = ('train', 'val')

ANNOTATION_FOLDERS = ('', 'annotations', 'labels')
"""Where official files are looked for, below the folder that the user names."""


@dataclass(frozen=True)
class Annotation:
    """What the official files of one label set say.

    Attributes:
        label_set: Name of the label set, such as ``gym99``.
        version: Version of the labels, such as ``v1.0``.
        class_names: Names in the order of the official file; empty when the files give
            label numbers without names.
        splits: For each split, the label of each clip as an index of ``class_names``.
        repeated: Clips that are named again with the same label, and where.
    """

    label_set: str
    version: str
    class_names: tuple[str, ...]
    splits: Mapping[str, Mapping[str, int]]
    repeated: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelSet:
    """One way to label a dataset, and what its lists and classes are known to be.

    Attributes:
        name: Name, such as ``gym99``.
        num_classes: Number of classes.
        published: For each version of the labels and each split, the number of clips.
        orders: For each order of the classes in use, the fingerprint of their names.
        list_name: Name of a list, made of ``split``, ``kind`` and ``version``.
        host_list_names: For each kind, the name that mmaction2's scripts give the list
            where it differs.
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
    """Videos, or folders of frames, below the prepared folder.

    Attributes:
        kind: ``videos`` or ``rawframes``.
        folder: Folder below the prepared one; ``{split}`` in it is filled in.
        raw_folders: Folders below the download that may hold them, the first wins.
        depth: 2 where clips may stand in one folder a class. Default: 1.
        frame_name: Template of the names of frames, which count from 1.
    """

    kind: str
    folder: str
    raw_folders: tuple[str, ...]
    depth: int = 1
    frame_name: str = 'img_{:05}.jpg'


@dataclass(frozen=True)
class Dataset:
    """A dataset that can be prepared and checked.

    Attributes:
        name: Name on the command line.
        label_sets: Its label sets.
        media: Its media.
        read_annotations: Reads the official files below a folder: one annotation for
            each label set and version that is there. Raises a ``FileNotFoundError`` or
            ``ValueError`` that names what is missing or cannot be read.
        arrange: For each order of the classes that one can choose, what makes it from
            the official order; the first is the default.
        loses_videos: Whether videos vanish from the net, so that copies differ.
        default_version: Version of the labels to prepare. Default: None, all versions.
        make_media: Makes media from the download: (raw, out, clips, workers) -> None.
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
        """The label set of a name."""
        return next(chosen for chosen in self.label_sets if chosen.name == name)


def find_file(root: Path, *names: str, what: str) -> Path:
    """Find an official file in a folder or in ``annotations`` or ``labels`` below it.

    Args:
        root: The folder.
        names: Names in use for the file, the first found wins.
        what: What the file is, for the message.

    Raises:
        FileNotFoundError: None of them is there.
    """
    found = search_file(root, *names)
    if found is not None:
        return found
    raise FileNotFoundError(
        f'{what} not found: expected {" or ".join(names)} in {root}, or in '
        'annotations/ or labels/ below it; see docs/data.md for what to download'
    )


def search_file(root: Path, *names: str) -> Path | None:
    """As :func:`find_file`, but None where none of them is there."""
    for name in names:
        for folder in ANNOTATION_FOLDERS:
            if (root / folder / name).is_file():
                return root / folder / name
    return None
