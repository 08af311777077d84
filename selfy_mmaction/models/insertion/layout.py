# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Layouts of the features of a clip."""

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from .probe import Probe

_CLIPS = 'n t c h w'
# By number of dimensions: the default layout, then others to suggest.
_LAYOUTS = {
    4: ('(n t) c h w', '(n t) h w c'),
    5: ('n c t h w', 'n t h w c', 'n t c h w'),
}
_TOKENS = ('n (t h w) c', 'n (h w t) c', '(n t) (h w) c', '(h w) (n t) c')


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

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import FeatureLayout, SELFYBlock
        >>> sizes = dict(t=4, h=7)
        >>> layout = FeatureLayout('n (t h w) c', sizes, class_tokens=1)
        >>> tokens = torch.randn(2, 1 + 4 * 7 * 7, 64)
        >>> layout.measure(tokens.shape)
        {'t': 4, 'h': 7, 'n': 2, 'w': 7, 'c': 64}
        >>> layout.run(SELFYBlock(in_channels=64, scale=1), tokens).shape
        torch.Size([2, 197, 64])
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


def find_layout(
    seen: Probe,
    layer: str,
    output: Hashable | None = None,
    pattern: str | None = None,
    sizes: Mapping[str, int] | None = None,
    class_tokens: int | None = None,
) -> tuple[FeatureLayout, dict[str, int]]:
    """Complete the layout of a layer's features.

    Args:
        seen: Record of the forward pass.
        layer: Name of the layer.
        output: Index or key of the features if the layer returns several tensors.
            Default: None.
        pattern: The layout. Default: None, which means '(n t) c h w' for 4-D features
            and 'n c t h w' for 5-D features if the shape is plausible.
        sizes: Sizes of axes in parentheses. Default: None, to take them from the
            outputs of the host's convolutions.
        class_tokens: Number of class tokens. Default: None, to try 0 and 1.

    Returns:
        The layout, with sizes, and the size of each axis as returned by
        :meth:`FeatureLayout.measure`.

    Raises:
        ValueError: If there is no such output, it is not a feature map, or no unique
            layout fits.
    """
    features = _choose(seen.outputs[layer], output, layer)
    saw = f'{layer!r} returns {_describe(features)} for an input of {seen.input_shape}'
    if not isinstance(features, Tensor) or features.dim() < 3:
        raise ValueError(f'{saw}, which is not a feature map{_advice(features)}')
    shape = tuple(features.shape)
    if pattern is None:
        default, *others = _LAYOUTS.get(len(shape), (None, *_TOKENS))
        if default is None or not _is_likely(default, shape, seen):
            raise ValueError(
                f'{saw}, whose order of clips, frames, channels, rows and columns is '
                f'ambiguous; give it: dict(after={layer!r}, layout={others[0]!r}, '
                f'...), or {", ".join(map(repr, others[1:]))} or another layout'
            )
        pattern = default
    has_tokens = any({'h', 'w'} <= set(axes) for axes in parse_layout(pattern))
    if class_tokens is None:
        numbers = (0, 1) if has_tokens else (0,)
    else:
        numbers = (class_tokens,)
    fitting = {}
    for option in [sizes] if sizes else _size_options(seen, pattern, shape):
        for number in numbers:
            layout = FeatureLayout(pattern, option, number)
            if _is_one_clip(layout, shape):
                fitting[str(layout)] = layout
    if len(fitting) != 1:
        raise ValueError(
            f'{saw}, which fits {" and ".join(fitting) or "no"} layout={pattern!r}'
            + f' with sizes={dict(sizes or {})}' * bool(sizes)
            + '; give layout, sizes=dict(t=..., h=..., w=...) and class_tokens'
        )
    _, layout = fitting.popitem()
    return layout, layout.measure(shape)


def _choose(value: Any, output: Hashable | None, layer: str) -> Any:
    if output is None:
        return value
    try:
        return value[output]
    except (TypeError, LookupError):
        raise ValueError(
            f'{layer!r} has no output={output!r}; it returns {_describe(value)}'
        ) from None


def _describe(value: Any) -> str:
    """Describe the output of a layer."""
    if isinstance(value, Tensor):
        return f'a tensor {tuple(value.shape)}'
    if isinstance(value, Mapping):
        parts = [f'{key!r}: {_describe(item)}' for key, item in value.items()]
        return f'{type(value).__name__} of {{{", ".join(parts)}}}'
    if isinstance(value, (tuple, list)):
        parts = [f'[{i}] {_describe(item)}' for i, item in enumerate(value)]
        return f'{type(value).__name__} of {", ".join(parts)}'
    return repr(value) if isinstance(value, int) else type(value).__name__


def _advice(features: Any) -> str:
    if isinstance(features, Mapping):
        return f'; select one with output=KEY, one of {list(features)}'
    if isinstance(features, (tuple, list)):
        return f'; select one with output=INDEX, one of {list(range(len(features)))}'
    return '; choose an earlier layer'


def _is_likely(pattern: str, shape: tuple[int, ...], seen: Probe) -> bool:
    """Check that there are at most as many frames as in the input, in its aspect ratio.

    This does not guess a layout; it rejects the default if it is implausible.
    """
    *clips, height, width = seen.input_shape
    frames = clips[-1] if len(clips) == 3 else clips[0]
    layout = FeatureLayout(pattern, {'t': shape[0]} if '(n t)' in pattern else None)
    sizes = layout.measure(shape)
    skew = abs(sizes['h'] * width - sizes['w'] * height)
    return (
        sizes['n'] == 1
        and sizes['t'] <= frames
        and sizes['h'] <= height
        and skew <= max(height, width)  # sides are rounded
    )


def _size_options(
    seen: Probe, pattern: str, shape: tuple[int, ...]
) -> list[dict[str, int]]:
    """List possible sizes of the axes in parentheses."""
    grouped = grouped_axes(pattern) - {'n'}
    if grouped <= {'t'} and len(shape) == len(parse_layout(pattern)):
        # The input is one clip, so the dimension of clips and frames has length T.
        return [
            {'t': length}
            for axes, length in zip(parse_layout(pattern), shape, strict=True)
            if len(axes) > 1
        ] or [{}]
    grids = (dict(zip('thw', grid, strict=True)) for grid in sorted(seen.grids))
    return [{axis: grid[axis] for axis in 'thw' if axis in grouped} for grid in grids]


def _is_one_clip(layout: FeatureLayout, shape: tuple[int, ...]) -> bool:
    try:
        return layout.measure(shape)['n'] == 1
    except ValueError:
        return False
