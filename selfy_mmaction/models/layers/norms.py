# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Configs of norms, checked where they are first read."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import build_norm_layer


def norm_2d(
    norm_cfg: dict[str, Any] | None, widths: Sequence[int], owner: object
) -> dict[str, Any]:
    """Config of the norms of a module on frames, (N*T, C, H, W).

    Args:
        norm_cfg: Config of a norm. None stands for ``dict(type='BN')``.
        widths: Channels of each norm.
        owner: The module, for the error.

    Returns:
        The config.

    Raises:
        ValueError: No config of a norm, or of one that does not take that many
            channels.
    """
    if norm_cfg is None:
        norm_cfg = dict(type='BN')
    return _checked(norm_cfg, widths, owner, dims=2)


def norm_3d(
    norm_cfg: dict[str, Any] | None, widths: Sequence[int], owner: object
) -> dict[str, Any]:
    """Config of the norms over (N, T, H, W) for a config of one over (N*T, H, W).

    Args:
        norm_cfg: As for :func:`norm_2d`.
        widths: Channels of each norm.
        owner: The module, for the error.

    Returns:
        The same config; 'BN' and 'BN2d' become 'BN3d', which takes the same
        statistics of such maps. Other norms ('SyncBN', 'GN') know any number of
        dimensions.

    Raises:
        ValueError: As :func:`norm_2d`.
    """
    if norm_cfg is None:
        norm_cfg = dict(type='BN')
    if isinstance(norm_cfg, dict) and norm_cfg.get('type') in ('BN', 'BN2d'):
        norm_cfg = {**norm_cfg, 'type': 'BN3d'}
    return _checked(norm_cfg, widths, owner, dims=3)


def _checked(
    norm_cfg: dict[str, Any], widths: Sequence[int], owner: object, dims: int
) -> dict[str, Any]:
    if not isinstance(norm_cfg, dict) or not norm_cfg.get('type'):
        raise ValueError(
            "norm_cfg must be None or the config of a norm such as dict(type='BN'), "
            f'but got {norm_cfg!r}'
        )
    for width in widths:
        try:
            _, norm = build_norm_layer(norm_cfg, width)
            # A layer norm takes the last side for the channels if they are equal.
            side = 2 if width != 2 else 3
            norm.eval()(torch.zeros(1, width, *[side] * dims))
        # They fail in as many ways as there are norms, and name no option.
        except Exception as error:
            most = math.gcd(*widths)
            raise ValueError(
                f'norm_cfg={norm_cfg!r} makes no norm for {dims}D maps of {width} '
                f'channels ({type(error).__name__}: {error}). The norms of '
                f'{type(owner).__name__} have {_listed(widths)} channels; groups have '
                f'to divide {most}. A step may have a norm_cfg of its own'
            ) from error
    return norm_cfg


def _listed(widths: Sequence[int]) -> str:
    return ', '.join(map(str, dict.fromkeys(widths)))
