# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Extraction of displacements (Section 3.2.1, supplement C)."""

from collections.abc import Sequence
from typing import Any

import torch
from mmaction.registry import MODELS
from torch import Tensor

from selfy_mmaction.models.layers.building import Module
from selfy_mmaction.ops import check_positive, check_window


@MODELS.register_module()
class SoftArgmaxExtraction(Module):
    r"""Expected displacement under the softmax of the similarities, Eq. 2.

    .. math::
        F_{t,x,y,l} = \sum_{u,v} \mathrm{softmax}_{u,v}(S_{t,x,y,l} / \tau) \, [u; v]

    The displacement is in cells of the matching grid, rows first as in the equation:
    ``u`` from ``-(U // 2)`` to ``U // 2``, and ``v`` likewise. Positions outside the
    frame contribute with similarity zero. Computed in at least float32.

    Args:
        window: Spatial window (U, V) of the STSS tensor. Default: (9, 9).
        temperature: Temperature tau. Default: 0.01, as in the paper.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If ``window`` is invalid or ``temperature`` is not positive.

    Attributes:
        out_channels: C_F = 2.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import SoftArgmaxExtraction
        >>> stss = torch.zeros(1, 1, 1, 1, 1, 5, 5)
        >>> stss[..., 1, 4] = 1  # best match: a row above, two columns to the right
        >>> SoftArgmaxExtraction(window=5)(stss).flatten()
        tensor([-1.,  2.])
    """

    out_channels = 2

    def __init__(
        self,
        window: int | Sequence[int] = (9, 9),
        temperature: float = 0.01,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.window = check_window(window)
        self.temperature = check_positive('temperature', temperature)
        # Buffers move with the module. Not persistent, because the window defines them.
        self.register_buffer('u', _displacements(self.window[0]), persistent=False)
        self.register_buffer('v', _displacements(self.window[1]), persistent=False)

    def forward(self, stss: Tensor) -> Tensor:
        """Extract one displacement per position and temporal offset.

        Args:
            stss: STSS tensor S, (N, T, h, w, L, U, V).

        Returns:
            Displacements (u, v), (N, T, h, w, L, 2), in the dtype of ``stss``.
        """
        windows = self._windows(stss)
        out = self._soft_argmax(windows).to(stss.dtype)
        return out.reshape(*stss.shape[:-2], self.out_channels)

    def _windows(self, stss: Tensor) -> Tensor:
        """Reshape (N, T, h, w, L, U, V) to (N*T*h*w*L, U, V), in float32."""
        windows = stss.reshape(-1, *self.window)
        return windows.to(torch.promote_types(stss.dtype, torch.float32))

    def _soft_argmax(self, windows: Tensor) -> Tensor:
        """Map (N*T*h*w*L, U, V) to (N*T*h*w*L, 2)."""
        weights = (windows / self.temperature).flatten(-2).softmax(-1)
        weights = weights.unflatten(-1, self.window)
        # Not a matrix product, which autocast would run in half precision.
        u = (weights.sum(-1) * self.u).sum(-1)
        v = (weights.sum(-2) * self.v).sum(-1)
        return torch.stack([u, v], -1)

    def extra_repr(self) -> str:
        """Return the options to print."""
        return f'window={self.window}, temperature={self.temperature}'


def _displacements(size: int) -> Tensor:
    return torch.arange(-(size // 2), size // 2 + 1, dtype=torch.float32)


@MODELS.register_module()
class KernelSoftArgmaxExtraction(SoftArgmaxExtraction):
    r"""Kernel soft-argmax and confidence of MotionSqueeze, supplement Table 3f (KS+CM).

    With :math:`S^+ = \mathrm{ReLU}(S)` and its arg max :math:`(u^*, v^*)`,

    .. math::
        G_{u,v} &= \exp(-((u - u^*)^2 + (v - v^*)^2) / 2 \sigma^2) \\
        F &= [\sum_{u,v} \mathrm{softmax}_{u,v}(G S^+ / \tau) [u / d_U; v / d_V];
        \max_{u,v} S^+_{u,v}]

    The ReLU and the division by :math:`d_U = U // 2` and :math:`d_V`, which scales the
    displacement to [-1, 1], come from MotionSqueeze's code, which the supplement claims
    to follow; that code orders v before u. No gradient flows through the arg max. Ties
    resolve to the first maximum in (u, v) order. Computed in at least float32.

    Args:
        window: Spatial window (U, V) of the STSS tensor. Default: (9, 9).
        temperature: Temperature tau. Default: 0.01, as in MotionSqueeze.
        sigma: Standard deviation of the Gaussian kernel, in grid cells. Default: 5, as
            in MotionSqueeze.
        init_cfg: Initialization config. Default: None.

    Raises:
        ValueError: If ``window`` is invalid, or ``temperature`` or ``sigma`` is not
            positive.

    Attributes:
        out_channels: C_F = 3.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import KernelSoftArgmaxExtraction
        >>> stss = torch.zeros(1, 1, 1, 1, 1, 5, 5)
        >>> stss[..., 1, 4] = 0.8  # best match: a row above, two columns to the right
        >>> KernelSoftArgmaxExtraction(window=5)(stss).flatten()  # and its similarity
        tensor([-0.5000,  1.0000,  0.8000])
    """

    out_channels = 3

    def __init__(
        self,
        window: int | Sequence[int] = (9, 9),
        temperature: float = 0.01,
        sigma: float = 5,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(window, temperature, init_cfg)
        self.sigma = check_positive('sigma', sigma, least=1e-18)  # squared in float32

    def forward(self, stss: Tensor) -> Tensor:
        """Extract displacement and confidence per position and temporal offset.

        Args:
            stss: STSS tensor S, (N, T, h, w, L, U, V).

        Returns:
            Displacement (u, v) in [-1, 1] and highest similarity, (N, T, h, w, L, 3),
            in the dtype of ``stss``.
        """
        similarities = self._windows(stss).relu()
        confidence, index = similarities.flatten(-2).max(-1)
        # One factor of the Gaussian per axis.
        u, v = self.u.to(similarities), self.v.to(similarities)
        rows = self._kernel(u, index // self.window[1]).unsqueeze(-1)
        cols = self._kernel(v, index % self.window[1]).unsqueeze(-2)
        displacement = self._soft_argmax(rows * cols * similarities)
        # A side of 1 has no displacement; avoid dividing by zero.
        reach = displacement.new_tensor([max(1, size // 2) for size in self.window])
        out = torch.cat([displacement / reach, confidence.unsqueeze(-1)], -1)
        return out.to(stss.dtype).reshape(*stss.shape[:-2], self.out_channels)

    def _kernel(self, displacements: Tensor, index: Tensor) -> Tensor:
        distance = displacements - displacements[index].unsqueeze(-1)
        return torch.exp(-distance.square() / (2 * self.sigma**2))

    def extra_repr(self) -> str:
        """Return the options to print."""
        return f'{super().extra_repr()}, sigma={self.sigma}'
