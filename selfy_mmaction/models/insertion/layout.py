# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Layouts of the features of a clip."""

import re
from collections.abc import Callable, Mapping, Sequence
from math import prod

import torch
from einops import rearrange
from torch import Tensor

_CLIPS = 'n t c h w'


class FeatureLayout:
    """Conversion from a host's features to frames (N*T, C, H, W), and back.

    Args:
        pattern: The host's layout as an einops pattern with clips ``n``, frames ``t``,
            channels ``c``, rows ``h`` and columns ``w``, each once; axes that share a
            dimension are in parentheses. 2D recognizers have '(n t) c h w', 3D
            recognizers 'n c t h w', and token sequences, for example, 'n (t h w) c'.
        sizes: Sizes of the axes in parentheses. One axis per pair of parentheses may be
            omitted and is computed. Default: None.
        class_tokens: Number of class tokens that precede the tokens of the positions
            and bypass the block. They require h and w in the same parentheses.
            Default: 0.

    Raises:
        ValueError: If the pattern does not have these five axes, ``sizes`` has other
            axes or too few, or ``class_tokens`` is given but no dimension has tokens.
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
                f'sizes has {sorted(wrong)}, which layout {pattern!r} does not have '
                f'in parentheses; remove them'
            )
        for axes in self.dims:
            missing = [axis for axis in axes if axis not in self.sizes]
            if len(axes) > 1 and len(missing) > 1:
                wanted = ', '.join(f'{axis}=...' for axis in axes if axis != 'n')
                raise ValueError(
                    f'layout {pattern!r} has {", ".join(axes)} in one dimension, but '
                    f'sizes={self.sizes} omits {len(missing)} of them; give '
                    f'sizes=dict({wanted})'
                )
        tokens = [dim for dim, axes in enumerate(self.dims) if {'h', 'w'} <= set(axes)]
        if class_tokens and not tokens:
            raise ValueError(
                f'class_tokens={class_tokens}, but layout {pattern!r} has no dimension '
                "of tokens such as '(t h w)' or '(h w)'"
            )
        self.token_dim = tokens[0] if tokens else -1  # used only for class tokens

    def measure(self, shape: Sequence[int]) -> dict[str, int]:
        """Compute the size of each axis.

        Args:
            shape: Shape of the host's features.

        Returns:
            Sizes of n, t, c, h and w.

        Raises:
            ValueError: If the shape does not match the layout.
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
                f'features of shape {tuple(shape)} do not match layout {self}; correct '
                'layout, sizes or class_tokens'
            )
        return measured

    def run(self, block: Callable[[Tensor, int], Tensor], features: Tensor) -> Tensor:
        """Run a block on features in this layout.

        Args:
            block: Maps frames (N*T, C, H, W) and T to frames of the same shape.
            features: Features of the host.

        Returns:
            The result in the host's layout.

        Raises:
            ValueError: If the features do not match the layout, or the block changes
                the shape.
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
                f'{block} changes the shape of features from {tuple(frames.shape)} to '
                f'{tuple(out.shape)}; an inserted block must keep it'
            )
        clips = out.unflatten(0, clips.shape[:2])
        out = rearrange(clips, f'{_CLIPS} -> {self.pattern}')
        if self.class_tokens:
            out = torch.cat((class_tokens, out), self.token_dim)
        if out.stride() != features.stride():
            # Hosts call view(), and their sums depend on the memory format.
            out = torch.empty_like(features, dtype=out.dtype).copy_(out)
        return out

    def __str__(self) -> str:
        sizes = ', '.join(f'{axis}={size}' for axis, size in self.sizes.items())
        tokens = f' and {self.class_tokens} class tokens' * bool(self.class_tokens)
        return f'{self.pattern!r}' + f' with {sizes}' * bool(sizes) + tokens


def parse_layout(pattern: str) -> list[tuple[str, ...]]:
    """Split a pattern into the axes of each dimension.

    Args:
        pattern: See :class:`FeatureLayout`.

    Returns:
        A tuple of axes per dimension.

    Raises:
        ValueError: If the pattern does not have each of the five axes once.
    """
    dims = [
        tuple((group or axis).split())
        for group, axis in re.findall(r'\(([^()]*)\)|([^\s()]+)', pattern)
    ]
    if sorted(axis for axes in dims for axis in axes) != sorted(_CLIPS.split()):
        raise ValueError(
            f'layout must have n, t, c, h and w once each, such as "(n t) c h w", '
            f'"n c t h w" or "n (t h w) c", but got {pattern!r}'
        )
    return dims


def grouped_axes(pattern: str) -> set[str]:
    """Find the axes that share a dimension with others.

    Args:
        pattern: See :class:`FeatureLayout`.

    Returns:
        The letters of these axes.
    """
    return {axis for axes in parse_layout(pattern) if len(axes) > 1 for axis in axes}
