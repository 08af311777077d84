# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Custom extraction, a step of the SELFY block."""

from collections.abc import Sequence
from typing import Any

import torch
from mmaction.registry import MODELS
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor

from selfy_mmaction.ops import check_window


@MODELS.register_module()
class MomentExtraction(BaseModule):
    r"""Extraction of the mean and covariance of the displacement and the similarity.

    Soft-argmax (Eq. 2 of the paper) extracts only the mean displacement. A moving
    corner, an edge that is free to slide along itself, and a position without a match
    can have the same mean, but differ in covariance and in maximum similarity. The
    weights of Eq. 2 define a distribution p over the window:

    .. math::
        p_{u,v} &= \mathrm{softmax}_{u,v}(S_{t,x,y,l} / \tau) \\
        m &= [E u,\; E v,\; \mathrm{Var}\, u,\; \mathrm{Var}\, v,\;
        \mathrm{Cov}(u, v),\; \max_{u,v} S] \\
        F_{t,x,y,l} &= \mathrm{ReLU}(\mathrm{Norm}(W m))

    Displacements (u, v) are rows and columns of the matching grid.

    Args:
        window: Spatial window (U, V) of the STSS tensor. Default: (9, 9).
        out_channels: C_F. Default: 64.
        temperature: Temperature tau of the softmax. With the paper's 0.01, nearly all
            weight is on one displacement and the covariance vanishes. Default: 0.1.
        norm_cfg: Config of the norm. Default: ``dict(type='BN')``.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If ``window`` is even or ``temperature`` is not positive.

    Attributes:
        out_channels: C_F, read when the integration is built.
    """

    def __init__(
        self,
        window: Sequence[int] = (9, 9),
        out_channels: int = 64,
        temperature: float = 0.1,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.window = check_window(window)
        if temperature <= 0:
            raise ValueError(f'temperature must be positive, but got {temperature}')
        self.temperature = temperature
        self.out_channels = out_channels
        # Buffers move with the module. They follow from the config, so they are not
        # saved in checkpoints.
        for name, size in zip('uv', self.window, strict=True):
            cells = torch.arange(size, dtype=torch.float32) - size // 2
            self.register_buffer(name, cells, persistent=False)
        self.layer = ConvModule(
            6, out_channels, kernel_size=1, norm_cfg=norm_cfg or dict(type='BN')
        )

    def forward(self, stss: Tensor) -> Tensor:
        """Extract one feature vector per position and temporal offset.

        Args:
            stss: STSS tensor S, (N, T, h, w, L, U, V).

        Returns:
            STSS features F, (N, T, h, w, L, C_F).
        """
        # Each position and offset is a 1x1 image with six channels.
        pixels = self.moments(stss).reshape(-1, 6, 1, 1)
        return self.layer(pixels).reshape(*stss.shape[:-2], self.out_channels)

    def moments(self, stss: Tensor) -> Tensor:
        """Compute the moments of the displacement under the softmax of similarities.

        Args:
            stss: STSS tensor S, (..., U, V).

        Returns:
            (E u, E v, Var u, Var v, Cov(u, v), max S), (..., 6).
        """
        weights = (stss / self.temperature).flatten(-2).softmax(-1)
        weights = weights.unflatten(-1, self.window)
        u, v = self.u, self.v
        # Sums, because autocast would round matrix products to half precision.
        rows, cols = weights.sum(-1), weights.sum(-2)
        mean_u, mean_v = (rows * u).sum(-1), (cols * v).sum(-1)
        moments = [
            mean_u,
            mean_v,
            (rows * u**2).sum(-1) - mean_u**2,
            (cols * v**2).sum(-1) - mean_v**2,
            ((weights * v).sum(-1) * u).sum(-1) - mean_u * mean_v,
            stss.amax((-2, -1)),
        ]
        return torch.stack(moments, -1)
