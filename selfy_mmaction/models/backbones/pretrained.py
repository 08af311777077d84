# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""``pretrained=`` with the checkpoint of a recognizer instead of ImageNet weights."""

from collections.abc import Mapping
from typing import Any

from mmaction.models.backbones.resnet_tsm import TemporalShift
from mmengine.runner.checkpoint import _load_checkpoint
from torch import Tensor, nn

from selfy_mmaction.models.insertion.weights import is_of_block, strip_prefix

PREFIX = 'backbone.'


def init_from_recognizer(backbone: Any) -> dict[str, Any] | None:
    """Find out whether ``backbone.pretrained`` is the checkpoint of a recognizer.

    mmaction2 expects torchvision's names there, and fails on others. A TSM may start
    from the weights of a TSN; see :func:`name_as_shifted`.

    Args:
        backbone: A ``ResNet`` or ``ResNetTSM`` of mmaction2, without inserted blocks.

    Returns:
        The ``init_cfg`` that loads the checkpoint; None if ``pretrained`` is not set or
        is not a recognizer's checkpoint.

    Raises:
        ValueError: If the checkpoint does not fit the backbone.
    """
    name = backbone.pretrained
    if not isinstance(name, str) or not name or name.startswith('torchvision://'):
        return None
    checkpoint = _load_checkpoint(name, map_location='cpu')
    weights = strip_prefix(checkpoint.get('state_dict', checkpoint), PREFIX)
    if not weights:
        return None
    name_as_shifted(backbone, weights)
    _check_weights(backbone, weights, name)
    return dict(type='Pretrained', checkpoint=name, prefix=PREFIX)


def name_as_shifted(backbone: nn.Module, weights: dict[str, Tensor]) -> None:
    """Rename the weights of layers that a temporal shift wraps, in place.

    mmaction2's ``TemporalShift`` adds ``net`` to the name of the layer that it wraps.

    Args:
        backbone: The network.
        weights: Weights of the same network with or without shifts.
    """
    for name, module in backbone.named_modules():
        if isinstance(module, TemporalShift):
            for key in [key for key in weights if key.startswith(f'{name}.')]:
                inner = key.removeprefix(f'{name}.')
                if not inner.startswith('net.'):
                    weights[f'{name}.net.{inner}'] = weights.pop(key)


def _check_weights(
    backbone: nn.Module, weights: Mapping[str, Tensor], name: str
) -> None:
    """Require exactly the weights of the backbone, in their shapes."""
    own = backbone.state_dict()
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for state in (own, weights):
        for key, value in state.items():
            # Networks trained by old versions of torch lack this counter.
            if not is_of_block(key) and not key.endswith('num_batches_tracked'):
                shapes.setdefault(key, []).append(tuple(value.shape))
    wrong = [key for key, found in shapes.items() if found != found[:1] * 2]
    if not wrong:
        return
    key = wrong[0]
    here, there = (
        f'{tuple(state[key].shape)}' if key in state else 'missing'
        for state in (own, weights)
    )
    raise ValueError(
        f'pretrained={name!r} does not fit {type(backbone).__name__}: {PREFIX}{key} is '
        f'{here} in the network and {there} in the checkpoint'
        + f', and {len(wrong) - 1} more differ' * (len(wrong) > 1)
        + '; use the backbone it was trained with (type, depth, base_channels)'
    )
