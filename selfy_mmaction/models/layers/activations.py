# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Check of activation configs."""

from typing import Any

from mmcv.cnn import build_activation_layer


def activation(act_cfg: dict[str, Any] | None) -> dict[str, Any]:
    """Check the config of an activation.

    Args:
        act_cfg: Config of the activation. None means ``dict(type='ReLU')``.

    Returns:
        The config.

    Raises:
        ValueError: If ``act_cfg`` is not the config of an activation.
    """
    if act_cfg is None:
        return dict(type='ReLU')
    try:
        if not isinstance(act_cfg, dict):  # mmcv's ConvModule asserts it
            raise TypeError(f'it is a {type(act_cfg).__name__}')
        build_activation_layer(act_cfg)
    # Each activation raises its own type of error, without naming the option.
    except Exception as error:
        raise ValueError(
            'act_cfg must be None or the config of an activation such as '
            f"dict(type='GELU'), but got {act_cfg!r} ({type(error).__name__}: {error})"
        ) from error
    return act_cfg
