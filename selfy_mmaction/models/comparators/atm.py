# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Similarity and difference blocks of ATM, which has both in sequence."""

from collections.abc import Sequence
from typing import Any

import torch
from mmaction.registry import MODELS
from torch import Tensor

from selfy_mmaction.models.layers.building import Module, completed
from selfy_mmaction.models.layers.frames import frames_at
from selfy_mmaction.models.selfy.block import SELFYBlock
from selfy_mmaction.ops import check_int, check_offsets

from .grid_block import Config


@MODELS.register_module()
class DifferenceTransformation(Module):
    r"""Differences of frames in place of the similarity, of ATM.

    .. math::
        S_{t,x,y,l} = V_{t+l,x,y} - V_{t,x,y}

    Frames outside the clip are zeros.

    Args:
        num_segments: Frames per clip, T. Default: 8.
        offsets: Set of temporal offsets l, in frames. A single int is allowed. Offsets
            beyond the clip trigger a warning. Default: -2 to 2.

    Raises:
        ValueError: If an argument is invalid.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import DifferenceTransformation
        >>> transformation = DifferenceTransformation(num_segments=3, offsets=(1,))
        >>> features = torch.tensor([1.0, 4.0, 9.0]).reshape(3, 1, 1, 1)
        >>> transformation(features).flatten()  # zeros follow the last frame
        tensor([ 3.,  5., -9.])
    """

    def __init__(
        self,
        num_segments: int = 8,
        offsets: int | Sequence[int] = (-2, -1, 0, 1, 2),
    ) -> None:
        super().__init__()
        self.num_segments = check_int('num_segments', num_segments)
        self.offsets = check_offsets(offsets, num_segments)

    def forward(self, x: Tensor, num_segments: int | None = None) -> Tensor:
        """Compute the differences.

        Args:
            x: Reduced features, (N*T, C_r, h, w).
            num_segments: Frames per clip, T. Default: None, the step's
                ``num_segments``.

        Returns:
            (N, T, h, w, L, C_r), for :class:`IdentityExtraction`.

        Raises:
            ValueError: If N*T is not a multiple of ``num_segments``.
        """
        frames = self.num_segments if num_segments is None else num_segments
        shifted = frames_at(x, frames, self.offsets)
        maps = torch.cat([other - x for other in shifted], 1)  # (N*T, L*C_r, h, w)
        maps = maps.unflatten(0, (-1, frames)).movedim(2, -1)
        return maps.unflatten(-1, (len(self.offsets), -1))

    def extra_repr(self) -> str:
        """Return the options to print."""
        return f'num_segments={self.num_segments}, offsets={self.offsets}'


@MODELS.register_module()
class IdentityExtraction(Module):
    """No extraction, for a transformation that has no window.

    Args:
        out_channels: C_F, the channels of the transformation's result.

    Raises:
        ValueError: If ``out_channels`` is invalid.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import IdentityExtraction
        >>> extraction = IdentityExtraction(out_channels=64)
        >>> features = torch.randn(2, 4, 7, 7, 3, 64)  # of DifferenceTransformation
        >>> extraction(features) is features
        True
    """

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.out_channels = check_int('out_channels', out_channels)

    def forward(self, feats: Tensor) -> Tensor:
        """Return the features.

        Args:
            feats: (N, T, h, w, L, C_F).

        Returns:
            ``feats``.
        """
        return feats


@MODELS.register_module()
class ATMSimilarityBlock(SELFYBlock):
    """Block of ATM that learns from similarities: SELFY's with another end.

    Wu et al., "What can simple arithmetic operations do for temporal modeling?" (ICCV
    2023). The reduction has 64 channels and no stride; two 3x3 convolutions per offset
    and one over all of them; a convolution without norm expands to C; ReLU after the
    sum. ATM has this block and then :class:`ATMDifferenceBlock`, before the attention
    of one layer of a ViT.

    Starts as the identity for features that are not negative: the weights of the last
    convolution are zero.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        scale: Side of the grid relative to that of the input. Default: 1.
        reduced_channels: Channels C_r after the reduction. Default: 64.
        zero_init_last_norm: Whether the last convolution starts with weights of zero.
            Default: True.
        kwargs: Other arguments of :class:`SELFYBlock`.

    Raises:
        ValueError: If an argument is invalid; see :class:`SELFYBlock`.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import ATMSimilarityBlock
        >>> block = ATMSimilarityBlock(in_channels=64, num_segments=4, window=(5, 5))
        >>> block.init_weights()
        >>> features = torch.rand(4, 64, 14, 14)
        >>> torch.equal(block(features), features)  # starts as the identity
        True
    """

    def __init__(
        self,
        in_channels: int,
        num_segments: int = 8,
        scale: float = 1,
        reduced_channels: int = 64,
        zero_init_last_norm: bool = True,
        **kwargs: Any,
    ) -> None:
        steps: dict[str, Config] = dict(
            integration=dict(type='ReleasedIntegration', channels=(64, 64, 64)),
            restoration=dict(type='ExpansionRestoration'),
            fusion=dict(type='ResidualFusion', relu='after'),
        )
        for step, default in steps.items():
            kwargs[step] = completed(step, kwargs.get(step), default)
        super().__init__(
            in_channels,
            num_segments,
            scale,
            reduced_channels=reduced_channels,
            zero_init_last_norm=zero_init_last_norm,
            **kwargs,
        )


@MODELS.register_module()
class ATMDifferenceBlock(ATMSimilarityBlock):
    """Block of ATM that learns from differences of frames.

    Differs from :class:`ATMSimilarityBlock` only in the transformation and in having no
    extraction.

    Args:
        in_channels: Channels C of the visual features.
        num_segments: Frames per clip, T. Default: 8.
        scale: Side of the grid relative to that of the input. Default: 1.
        reduced_channels: Channels C_r after the reduction. Default: 64.
        kwargs: Other arguments of :class:`ATMSimilarityBlock`, except for those about
            the window.

    Raises:
        ValueError: If an argument is invalid; see :class:`SELFYBlock`.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import ATMDifferenceBlock
        >>> block = ATMDifferenceBlock(in_channels=64, num_segments=4, offsets=(-1, 1))
        >>> block(torch.rand(4, 64, 14, 14)).shape
        torch.Size([4, 64, 14, 14])
        >>> block.transformation
        DifferenceTransformation(num_segments=4, offsets=(-1, 1))
    """

    def __init__(
        self,
        in_channels: int,
        num_segments: int = 8,
        scale: float = 1,
        reduced_channels: int = 64,
        **kwargs: Any,
    ) -> None:
        if 'window' in kwargs:
            raise ValueError(
                f'window={kwargs["window"]!r} has no effect in ATMDifferenceBlock: it '
                'compares the same position of two frames; remove window'
            )
        steps: dict[str, Config] = dict(
            transformation=dict(type='DifferenceTransformation'),
            extraction=dict(type='IdentityExtraction', out_channels=reduced_channels),
        )
        for step, default in steps.items():
            kwargs[step] = completed(step, kwargs.get(step), default)
        super().__init__(in_channels, num_segments, scale, reduced_channels, **kwargs)
