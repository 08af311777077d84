# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Run a network on a clip and keep what its block makes of it."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from selfy_mmaction.inference import Prediction, Predictor
from selfy_mmaction.inference.pipeline import Clip
from selfy_mmaction.ops import check_offsets, check_window, self_similarity

from .recorded_clip import RecordedClip

OFFSETS, WINDOW = (-2, -1, 0, 1, 2), (9, 9)
_STEPS = ('transformation', 'extraction', 'integration')


class Recording(NamedTuple):
    """Result of :func:`record_block` and :func:`record_layer`."""

    clip: RecordedClip
    prediction: Prediction


def find_blocks(model: nn.Module) -> list[str]:
    """Return the names of the blocks whose STSS tensor can be recorded."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(getattr(module, 'transformation', None), nn.Module)
        and hasattr(module.transformation, 'offsets')
        and hasattr(module.transformation, 'window')
    ]


def frames_per_view(model: Any) -> int | None:
    """Return the frames per clip, T, of a 2D network; None if it takes any number."""
    # The head comes last: behind a neck that averages over frames, it has one.
    head = getattr(model, 'cls_head', None)
    parts = [part for part in model.modules() if part is not head]
    found = (getattr(part, 'num_segments', None) for part in (*parts, head))
    return next((number for number in found if number), None)


def choose_module(names: Iterable[str], name: str | None, what: str) -> str:
    """Return a name, by default the first one.

    Args:
        names: The names that exist.
        name: A name. None: the first one.
        what: What they name, for messages.

    Raises:
        ValueError: If the name does not exist, or there are none.
    """
    names = [each for each in names if each]
    if name is None and names:
        return names[0]
    if name in names:
        return name
    close = difflib.get_close_matches(name or '', names, n=5, cutoff=0.3)
    hint = f'did you mean {", ".join(close)}?'
    if not close:
        hint = f'it has {len(names)}, such as {", ".join(names[:5])}'
    raise ValueError(f'the network has no {what} {name!r}; {hint}')


def record_block(
    predictor: Predictor, clip: Clip, video: str, block: str | None = None
) -> Recording:
    """Record what a block makes of a clip. The network is not changed.

    Args:
        predictor: The network.
        clip: The clip, read by the network's pipeline.
        video: Name of the video.
        block: Name of the block in the network. Default: None, the first one.

    Raises:
        ValueError: If the network has no block, or not this one.

    Example:
        >>> from selfy_mmaction.checkpoints import SAMPLE_CLIP
        >>> from selfy_mmaction.inference import Predictor
        >>> from selfy_mmaction.visualization.recording import record_block
        >>> predictor = Predictor(device='cpu')
        >>> clip = predictor.pipeline.open(str(SAMPLE_CLIP)).read_clip()
        >>> recorded, prediction = record_block(predictor, clip, 'sample')
        >>> recorded.stss.shape  # (T, h, w, L, U, V)
        (8, 8, 8, 5, 5, 5)
    """
    blocks = find_blocks(predictor.model)
    if not blocks:
        raise ValueError(
            'the network has no SELFY block; name a layer whose features are compared '
            'instead, such as backbone.layer2 (--layer)'
        )
    name = choose_module(blocks, block, 'block')
    module = predictor.model.get_submodule(name)
    kept: dict[str, Tensor] = {}
    steps = [(step, getattr(module, step, None)) for step in _STEPS]
    with ExitStack() as stack:
        for step, layer in steps:
            if isinstance(layer, nn.Module):
                stack.enter_context(_keeping(layer, step, kept))
        prediction = predictor.predict_clip(clip, video)
    if 'transformation' not in kept:
        raise ValueError(f'the network does not run its block {name}')
    stss = kept['transformation']
    total = stss.shape[0] * stss.shape[1]
    integrated = kept.get('integration')
    if integrated is not None and integrated.dim() == 4:
        integrated = integrated[: stss.shape[1]]
    else:
        integrated = None
    extracted = kept.get('extraction')
    recorded = RecordedClip(
        video=video,
        source=f'{type(module).__name__} {name}',
        stss=_array(stss[0]),
        offsets=tuple(module.transformation.offsets),
        extraction=None if extracted is None else _array(extracted[0]),
        integration=None if integrated is None else _array(integrated),
        classes=prediction.top,
        **clip_frames(clip, stss.shape[1], total),
    )
    return Recording(recorded, prediction)


def record_layer(
    predictor: Predictor,
    clip: Clip,
    video: str,
    layer: str,
    offsets: Iterable[int] = OFFSETS,
    window: int | tuple[int, int] = WINDOW,
) -> Recording:
    """Compare the features of any layer of a network (Eq. 1), with or without a block.

    Args:
        predictor: The network.
        clip: The clip, read by the network's pipeline.
        video: Name of the video.
        layer: Name of the layer, such as ``'backbone.layer2'``. It returns frames
            (N*T, C, H, W) or clips (N, C, T, H, W).
        offsets: Temporal offsets l. Default: -2 to 2.
        window: Spatial window (U, V). Default: (9, 9).

    Raises:
        ValueError: If the layer does not exist, does not run or returns something else.

    Example:
        >>> from selfy_mmaction.checkpoints import SAMPLE_CLIP
        >>> from selfy_mmaction.inference import Predictor
        >>> from selfy_mmaction.visualization.recording import record_layer
        >>> predictor = Predictor(device='cpu')
        >>> clip = predictor.pipeline.open(str(SAMPLE_CLIP)).read_clip()
        >>> recorded, _ = record_layer(
        ...     predictor, clip, 'sample', 'backbone.layer3', offsets=(-1, 1), window=3
        ... )
        >>> recorded.stss.shape
        (8, 8, 8, 2, 3, 3)
    """
    model = predictor.model
    name = choose_module(dict(model.named_modules()), layer, 'layer')
    kept: dict[str, Tensor] = {}
    with _keeping(model.get_submodule(name), 'features', kept):
        prediction = predictor.predict_clip(clip, video)
    features = kept.get('features')
    if features is None:
        raise ValueError(f'layer {name} does not run, or does not return a tensor')
    if features.dim() == 5:
        num_segments, total = features.shape[2], features.shape[0] * features.shape[2]
        features = features[0].transpose(0, 1)
    elif features.dim() == 4:
        total = len(features)
        inputs = clip.inputs['inputs']
        if inputs.dim() == 5:  # (views, C, T, H, W)
            num_segments = total // len(inputs)
        else:
            num_segments = frames_per_view(model) or total
        features = features[:num_segments]
    else:
        raise ValueError(
            f'layer {name} returns features of shape {tuple(features.shape)}, expected '
            'frames (N*T, C, H, W) or clips (N, C, T, H, W); name another layer'
        )
    recorded = RecordedClip(
        video=video,
        source=f'features of layer {name}',
        classes=prediction.top,
        **compare(features, offsets, window),
        **clip_frames(clip, num_segments, total),
    )
    return Recording(recorded, prediction)


def compare(
    features: Tensor, offsets: Iterable[int], window: int | tuple[int, int]
) -> dict[str, Any]:
    """Compute ``stss`` and ``offsets`` of a clip from features, (T, C, h, w).

    Raises:
        ValueError: If an offset is outside of the clip from every frame.
    """
    offsets = check_offsets(tuple(offsets))
    last = len(features) - 1
    for offset in offsets:
        if abs(offset) > last:
            raise ValueError(
                f'offset {offset} leads out of the clip, which has {last + 1} frames; '
                f'expected {-last} to {last}'
            )
    with torch.no_grad():
        stss = self_similarity(features, offsets, check_window(window), len(features))
    return dict(stss=_array(stss[0]), offsets=offsets)


@contextmanager
def _keeping(layer: nn.Module, name: str, kept: dict[str, Tensor]) -> Iterator[None]:
    """Keep the first output of a layer while the context lasts."""

    def keep(layer: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            kept.setdefault(name, output.detach())

    handle = layer.register_forward_hook(keep)
    try:
        yield
    finally:
        handle.remove()


def clip_frames(clip: Clip, num_frames: int, total: int) -> dict[str, Any]:
    """Find the frames of the first view that the features stand for.

    Args:
        clip: The clip.
        num_frames: T of the features.
        total: Frames of the features in all views.
    """
    frames = input_frames(clip)
    # A network may have fewer frames in its features than in its input.
    ratio = len(frames) / total
    indices = [int((index + 0.5) * ratio) for index in range(num_frames)]
    seconds = None
    if clip.times is not None and max(indices) < len(clip.times):
        seconds = tuple(float(clip.times[index]) for index in indices)
    return dict(frames=frames[indices], seconds=seconds)


def input_frames(clip: Clip) -> np.ndarray:
    """Return the frames that the network gets, (T, H, W, 3), uint8, RGB.

    Several views of a clip are one after the other.
    """
    inputs = clip.inputs['inputs']
    if inputs.dim() == 5:  # (views, C, T, H, W)
        inputs = inputs.transpose(1, 2).flatten(0, 1)
    if inputs.dtype != torch.uint8:
        low, high = inputs.min(), inputs.max()
        inputs = (inputs - low) / (high - low).clamp(min=1e-12) * 255
    return inputs.to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy()
