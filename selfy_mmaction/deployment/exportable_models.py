# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What cannot be exported, found before any long work."""

from typing import Any, NamedTuple

from mmaction.models import ActionDataPreprocessor, Recognizer2D, Recognizer3D
from torch import nn


class _Obstacle(NamedTuple):
    """Why a module cannot be exported, and what to do.

    Attributes:
        reason: Reason.
        fix: Fix.
        formats: Formats that lack it.
        only_dynamic: Whether a fixed number of clips can be exported.
    """

    reason: str
    fix: str
    formats: tuple[str, ...] = ('onnx', 'torchscript', 'pt2')
    only_dynamic: bool = False


# By name, because importing some of these classes needs a compiled mmcv.
_OBSTACLES = {
    'mmaction.models.heads.trn_head.RelationModuleMultiScale': _Obstacle(
        'it draws other relations between frames in each pass, and a file would keep '
        'those of one pass',
        "train with relation_type='TRN' in cls_head",
    ),
    'mmaction.models.common.tam.TAM': _Obstacle(
        'its convolution has a group per clip, and ONNX and TorchScript need a fixed '
        'number of groups',
        'export to pt2, or one clip at a time with --dynamic none (dynamic=False)',
        formats=('onnx', 'torchscript'),
        only_dynamic=True,
    ),
    'mmaction.models.backbones.resnet_tin.TemporalInterlace': _Obstacle(
        'it calls tin_shift, a compiled operator of mmcv that no other program has',
        'use a network with temporal shifts, such as TSM',
    ),
}
_COMPILED = _Obstacle(
    'it is a compiled operator of mmcv that no other program has',
    'use a network of plain layers',
)


def check_kind(model: Any) -> None:
    """Check that a recognizer maps one tensor of frames to classes.

    Raises:
        ValueError: If it or its data preprocessor is of another kind; names the class.
    """
    kind = type(model).__name__
    if not isinstance(model, (Recognizer2D, Recognizer3D)):
        raise ValueError(
            f'{kind} cannot be exported; expected a Recognizer2D or a Recognizer3D, '
            'which maps frames to classes'
        )
    preprocessor = type(model.data_preprocessor)
    if preprocessor is not ActionDataPreprocessor:
        raise ValueError(
            f'{kind} has the data preprocessor {preprocessor.__name__}, whose '
            'normalization cannot be exported; expected ActionDataPreprocessor'
        )


def check_modules(model: nn.Module, format: str, dynamic: bool = True) -> None:
    """Check that no module of a network is known to be lost or fixed by an export.

    Args:
        model: The network.
        format: 'onnx', 'torchscript' or 'pt2'.
        dynamic: Whether the file shall take any number of clips. Default: True.

    Raises:
        ValueError: If one is; names its class, its path, the reason and the fix.
    """
    for path, module in model.named_modules():
        obstacle = _find_obstacle(type(module))
        if obstacle is None or format not in obstacle.formats:
            continue
        if dynamic or not obstacle.only_dynamic:
            raise ValueError(
                f'{type(module).__name__} ({path}) cannot be exported: '
                f'{obstacle.reason}; {obstacle.fix}'
            )


def _find_obstacle(kind: type) -> _Obstacle | None:
    for each in kind.__mro__:
        if each.__module__.startswith('mmcv.ops.'):
            return _COMPILED
        found = _OBSTACLES.get(f'{each.__module__}.{each.__qualname__}')
        if found is not None:
            return found
    return None
