# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Configs of norms for blocks that hold clips as (N, C, T, H, W)."""

from typing import Any


def norm_3d(norm_cfg: dict[str, Any] | None) -> dict[str, Any]:
    """Config of the norm over (N, T, H, W) for a config of one over (N*T, H, W).

    Args:
        norm_cfg: Config of a norm, as the blocks on frames take it. None stands for
            ``dict(type='BN')``.

    Returns:
        The same config; 'BN' and 'BN2d' become 'BN3d', which takes the same
        statistics of such maps. Other norms ('SyncBN', 'GN') know any number of
        dimensions.
    """
    norm_cfg = norm_cfg or dict(type='BN')
    if norm_cfg['type'] in ('BN', 'BN2d'):
        return {**norm_cfg, 'type': 'BN3d'}
    return norm_cfg
