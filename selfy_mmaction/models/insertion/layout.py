# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Layouts in which networks hold the features of a clip."""

import re
from collections.abc import Callable, Mapping, Sequence
from math import prod

import torch
from einops import rearrange
from torch import Tensor

_CLIPS = 'n t c h w'


class FeatureLayout:
    """The way from a host's features to frames (N*T, C, H, W), and back.

    Args:
        pattern: The host's layout as einops writes it: clips ``n``, frames ``t``,
            channels ``c``, rows ``h`` and columns ``w``, each once, in parentheses
            where they share a dimension. '(n t) c h w' is a 2D recognizer's,
            'n c t h w' a 3D one's, 'n (t h w) c' a sequence of tokens.
        sizes: Sizes of the axes in parentheses; one axis of each pair of parentheses
            may be left out and is computed. Default: none.
        class_tokens: Tokens before those of the positions, which pass by the block.
            They need h and w in one pair of parentheses. Default: 0.

    Raises:
        ValueError: Not these five axes, sizes of others, sizes that are missing, or
            class tokens where no dimension holds tokens.
    """

    def __init__(
        self,
        pattern: str,
        sizes: Mapping[str, int] | None = None,
        class_tokens: int = 0,
    ) -> None:
        self.pattern = pattern
        self.dims = parse_layout(pattern)
        self.sizes = dict(sizes or {})
        self.class_tokens = class_tokens
        shared = grouped_axes(pattern)
        if wrong := set(self.sizes) - shared:
            raise ValueError(
                f'sizes gives {sorted(wrong)}, but layout {pattern!r} needs at most '
                f'those of {sorted(shared)}; the features say the others'
            )
        for axes in self.dims:
            missing = [axis for axis in axes if axis not in self.sizes]
            if len(axes) > 1 and len(missing) > 1:
                wanted = ', '.join(f'{axis}=...' for axis in axes if axis != 'n')
                raise ValueError(
                    f'layout {pattern!r} holds {", ".join(axes)} in one dimension and '
                    f'sizes={self.sizes} leaves {len(missing)} of them open; give '
                    f'sizes=dict({wanted})'
                )
        tokens = [dim for dim, axes in enumerate(self.dims) if {'h', 'w'} <= set(axes)]
        if class_tokens and not tokens:
            raise ValueError(
                f'class_tokens={class_tokens}, but layout {pattern!r} has no dimension '
                "of tokens such as '(t h w)' or '(h w)'"
            )
        self.token_dim = tokens[0] if tokens else -1  # without class tokens unused

    def measure(self, shape: Sequence[int]) -> dict[str, int]:
        """Size of each axis.

        Args:
            shape: Shape of the host's features.

        Returns:
            Sizes of n, t, c, h and w.

        Raises:
            ValueError: The shape does not have this layout.
        """
        lengths = list(shape)
        fits = len(lengths) == len(self.dims)
        measured = dict(self.sizes)
        if fits and self.class_tokens:
            lengths[self.token_dim] -= self.class_tokens
        for axes, length in zip(self.dims, lengths if fits else (), strict=False):
            known = prod([self.sizes.get(axis, 1) for axis in axes])
            unknown = [axis for axis in axes if axis not in self.sizes]
            if length < 0 or length % known or (not unknown and length != known):
                fits = False
                break
            measured.update(dict.fromkeys(unknown, length // known))
        if not fits:
            raise ValueError(
                f'features of shape {tuple(shape)} have no layout {self}; give the '
                'layout, sizes and class_tokens that they have'
            )
        return measured

    def run(self, block: Callable[[Tensor, int], Tensor], features: Tensor) -> Tensor:
        """Run a block on features in this layout.

        Args:
            block: From frames (N*T, C, H, W) and T to frames of the same shape.
            features: The host's.

        Returns:
            In the host's layout.

        Raises:
            ValueError: The features do not have this layout, or the block changes
                their shape.
        """
        num_clips = self.measure(features.shape)['n']
        tokens = features
        if self.class_tokens:
            length = features.size(self.token_dim) - self.class_tokens
            class_tokens, tokens = features.split(
                (self.class_tokens, length), self.token_dim
            )
        clips = rearrange(
            tokens, f'{self.pattern} -> {_CLIPS}', n=num_clips, **self.sizes
        )
        frames = clips.flatten(0, 1)
        out = block(frames, clips.size(1))
        if out.shape != frames.shape:
            raise ValueError(
                f'{block} made {tuple(out.shape)} of features of shape '
                f'{tuple(frames.shape)}; an inserted block must keep it'
            )
        clips = out.unflatten(0, clips.shape[:2])
        out = rearrange(clips, f'{_CLIPS} -> {self.pattern}')
        if self.class_tokens:
            out = torch.cat((class_tokens, out), self.token_dim)
        if out.stride() != features.stride():
            # Hosts call view(), and sum in the order of the memory.
            out = torch.empty_like(features, dtype=out.dtype).copy_(out)
        return out

    def __str__(self) -> str:
        sizes = ', '.join(f'{axis}={size}' for axis, size in self.sizes.items())
        tokens = f' and {self.class_tokens} class tokens' * bool(self.class_tokens)
        return f'{self.pattern!r}' + f' with {sizes}' * bool(sizes) + tokens


def parse_layout(pattern: str) -> list[tuple[str, ...]]:
    """Axes of each dimension.

    Args:
        pattern: As for :class:`FeatureLayout`.

    Returns:
        A tuple of axes for each dimension.

    Raises:
        ValueError: Not the five axes.
    """
    dims = [
        tuple((group or axis).split())
        for group, axis in re.findall(r'\(([^()]*)\)|([^\s()]+)', pattern)
    ]
    if sorted(axis for axes in dims for axis in axes) != sorted(_CLIPS.split()):
        raise ValueError(
            f'layout must hold n, t, c, h and w once each, such as "(n t) c h w", '
            f'"n c t h w" or "n (t h w) c", but got {pattern!r}'
        )
    return dims


def grouped_axes(pattern: str) -> set[str]:
    """The axes that share a dimension with others.

    Args:
        pattern: As for :class:`FeatureLayout`.

    Returns:
        Their letters.
    """
    return {axis for axes in parse_layout(pattern) if len(axes) > 1 for axis in axes}
