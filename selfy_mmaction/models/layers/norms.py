# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Checks of norm configs."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import build_norm_layer


def norm_2d(
    norm_cfg: dict[str, Any] | None, widths: Sequence[int], owner: object
) -> dict[str, Any]:
    """Check the config of norms for frames, (N*T, C, H, W).

    Args:
        norm_cfg: Config of the norms. None means ``dict(type='BN')``.
        widths: Channels of each norm.
        owner: Module that has the norms, for the error message.

    Returns:
        The config.

    Raises:
        ValueError: If ``norm_cfg`` is not the config of a norm or does not support one
            of ``widths``.
    """
    if norm_cfg is None:
        norm_cfg = dict(type='BN')
    return _checked(norm_cfg, widths, owner, dims=2)


def norm_3d(
    norm_cfg: dict[str, Any] | None, widths: Sequence[int], owner: object
) -> dict[str, Any]:
    """Check a norm config and adapt it to clips, (N, C, T, H, W).

    Args:
        norm_cfg: See :func:`norm_2d`.
        widths: Channels of each norm.
        owner: Module that has the norms, for the error message.

    Returns:
        The config, with 'BN' and 'BN2d' replaced by 'BN3d', which computes the same
        statistics. Other norms ('SyncBN', 'GN') support any number of dimensions.

    Raises:
        ValueError: See :func:`norm_2d`.
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
            # Layer norm would mistake the last dimension for the channels if equal.
            side = 2 if width != 2 else 3
            norm.eval()(torch.zeros(1, width, *[side] * dims))
        # Each norm raises its own type of error, without naming the option.
        except Exception as error:
            most = math.gcd(*widths)
            raise ValueError(
                f'norm_cfg={norm_cfg!r} does not support {dims}D maps of {width} '
                f'channels ({type(error).__name__}: {error}). The norms of '
                f'{type(owner).__name__} have {_listed(widths)} channels; the number '
                f'of groups must divide {most}. Each step accepts its own norm_cfg'
            ) from error
    return norm_cfg


def _listed(widths: Sequence[int]) -> str:
    return ', '.join(map(str, dict.fromkeys(widths)))
