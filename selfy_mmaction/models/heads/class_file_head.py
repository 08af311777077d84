# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""TSM head that reads the number of classes from a class file."""

from typing import Any

from mmaction.models.heads import TSMHead
from mmaction.registry import MODELS

from selfy_mmaction.text_files import read_class_names


@MODELS.register_module()
class ClassFileHead(TSMHead):
    r"""TSMHead with one class per name of a class file.

    Args:
        num_classes: Number of classes. If it is given, the class file is not read, so
            that a checkpoint can be used on a machine without it. Default: None, the
            number of names in ``class_file``.
        class_file: File with one class name per line, in the order of the labels.
            Default: None.
        kwargs: Arguments of ``TSMHead``.

    Raises:
        FileNotFoundError: If the file is needed and missing.
        ValueError: If both are None, or the file is malformed.

    Attributes:
        class_names: Names of the classes; None if the file was not read.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from selfy_mmaction.models import ClassFileHead
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, 'classes.txt')
        ...     _ = path.write_text('Opening a box\nClosing a box\n')
        ...     head = ClassFileHead(class_file=str(path), in_channels=512)
        >>> head.num_classes, head.class_names
        (2, ('Opening a box', 'Closing a box'))
    """

    def __init__(
        self,
        num_classes: int | None = None,
        class_file: str | None = None,
        **kwargs: Any,
    ) -> None:
        names = None
        if num_classes is None:
            if class_file is None:
                raise ValueError(
                    'ClassFileHead needs class_file, the file of class names that '
                    'tools/data/own_videos.py wrote, or num_classes'
                )
            try:
                names = tuple(read_class_names(class_file))
            except FileNotFoundError as error:
                raise FileNotFoundError(
                    f'{error}. To use a checkpoint without the class file, set '
                    'num_classes of the head: --cfg-options '
                    'model.cls_head.num_classes=3 for 3 classes'
                ) from None
            num_classes = len(names)
        super().__init__(num_classes, **kwargs)
        self.class_names = names
