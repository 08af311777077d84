# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The SELFY block on single frames, given the reduced features of their neighbors."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from selfy_mmaction.models import (
    EmbeddedGaussianTransformation,
    SELFYBlock,
)
from selfy_mmaction.ops import self_similarity


def reach(block: SELFYBlock) -> tuple[int, int]:
    """Return how many frames a block looks back and ahead."""
    offsets = block.transformation.offsets
    return max(0, -min(offsets)), max(0, *offsets)


def reduce(block: SELFYBlock, x: Tensor) -> Tensor:
    """Compute what other frames need of a frame.

    Args:
        block: The block.
        x: Visual features, (N, C, H, W).

    Returns:
        Maps that are compared, (N, C_m, h, w): the reduced features, or the queries and
        keys of the embedded Gaussian.
    """
    reduced = block.reduction(x)
    step = block.transformation
    if isinstance(step, EmbeddedGaussianTransformation):
        return torch.cat([step.theta(reduced), step.phi(reduced)], 1)
    return reduced


def match(
    step: Any,
    maps: Tensor,
    frames: Sequence[int],
    inside: Tensor | None = None,
) -> Tensor:
    """Run the transformation for some frames of a sequence.

    Args:
        step: The transformation.
        maps: Results of :func:`reduce` for the sequence, (N, F, C_m, h, w); zeros where
            there is no frame.
        frames: Indices of the Q frames.
        inside: Which of the F frames exist, (F,), bool. Default: None, all.

    Returns:
        Their STSS tensor, (N, Q, h, w, L, U, V). Neighbors outside the sequence count
        as in :meth:`STSSTransformation.forward`.
    """
    offsets, num_frames = step.offsets, maps.size(1)
    before = max(0, -(min(frames) + min(offsets)))
    after = max(0, max(frames) + max(offsets) - (num_frames - 1))
    neighbors = [before + frame + offset for frame in frames for offset in offsets]
    queries = keys = maps
    gaussian = isinstance(step, EmbeddedGaussianTransformation)
    if gaussian:
        queries, keys = maps.chunk(2, 2)
        dtype = torch.promote_types(maps.dtype, torch.float32)
        queries, keys = queries.to(dtype), keys.to(dtype)
    # Zeros have no similarity, like the frames outside of a clip.
    keys = F.pad(keys, (0, 0, 0, 0, 0, 0, before, after))[:, neighbors]
    queries = queries[:, list(frames)].repeat_interleave(len(offsets), 1)
    stss = self_similarity(
        queries.flatten(0, 1),  # (N*Q*L, C_r, h, w)
        (0,),
        step.window,
        num_segments=1,
        **(dict(similarity='dot') if gaussian else dict(eps=step.eps)),
        keys=keys.flatten(0, 1),
        backend=step.backend,
    )
    size = (maps.size(0), len(frames), len(offsets))
    stss = stss[:, 0, :, :, 0].unflatten(0, size)  # (N, Q, L, h, w, U, V)
    stss = stss.permute(0, 1, 3, 4, 2, 5, 6)
    if gaussian:
        if inside is None:
            inside = torch.ones(num_frames, dtype=torch.bool, device=maps.device)
        in_clip = F.pad(inside, (before, after))[neighbors].view(size[1:])
        stss = step.normalize(stss, in_clip).to(maps.dtype)
    return stss


def finish(block: SELFYBlock, x: Tensor, stss: Tensor) -> Tensor:
    """Run the steps after the transformation.

    Args:
        block: The block.
        x: Visual features V of Q frames, (N, Q, C, H, W).
        stss: Their STSS tensor, (N, Q, h, w, L, U, V).

    Returns:
        Output of the block, (N, Q, C, H, W).
    """
    visual = x.flatten(0, 1)
    out = block.integration(block.extraction(stss))
    out = block.fusion(visual, block.restoration(out, visual.shape[-2:]))
    return out.unflatten(0, x.shape[:2])
