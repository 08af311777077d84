# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Export of a trained network to a file, compared and described."""

import math
import os
from pathlib import Path

import torch
from mmengine.config import Config

from selfy_mmaction.atomic_files import replacing
from selfy_mmaction.checkpoints import SAMPLE_CLIP
from selfy_mmaction.inference import Predictor
from selfy_mmaction.inference.videos import find_videos
from selfy_mmaction.ops import check_choice, check_int

from .comparison import (
    TOLERANCES,
    Comparison,
    compare,
    compare_stream,
    read_clips,
)
from .description import as_json, as_metadata, describe
from .exportable_models import check_kind, check_modules
from .exported_network import Exportable, ExportedNetwork
from .exported_stream import STREAMS, ExportedStream
from .formats import check_format, export

_TRACED = 2  # clips or streams; exporters take a size of 1 for a constant


class ComparisonError(RuntimeError):
    """Raised if an exported file differs from the network; nothing is written."""


def export_network(
    config: str | os.PathLike | Config | None,
    checkpoint: str | os.PathLike | None,
    out: str | os.PathLike,
    format: str = 'onnx',
    *,
    takes: str = 'frames',
    dynamic: bool = True,
    half: bool = False,
    tolerance: float | None = None,
    stream: str | None = None,
    average_frames: int | None = None,
    video: str | os.PathLike | None = None,
    classes: str | os.PathLike | None = None,
) -> Comparison:
    """Export a network and compare the file with it.

    Writes ``out`` and, beside it, ``out`` + '.json' with the class names, the
    preprocessing, the comparison and the versions; both only if the comparison passes.
    The metadata of ``out`` are the same, see
    :func:`~selfy_mmaction.deployment.description.as_metadata`.

    Args:
        config: See :class:`~selfy_mmaction.inference.Predictor`.
        checkpoint: See :class:`~selfy_mmaction.inference.Predictor`.
        out: File to write.
        format: 'onnx', 'torchscript' or 'pt2'. Default: 'onnx'.
        takes: See :class:`ExportedNetwork`. Default: 'frames'.
        dynamic: Whether the file takes any number of clips; otherwise one.
            Default: True.
        half: Whether the file computes in half precision. Default: False.
        tolerance: Largest difference of log probabilities allowed. Default: None,
            that of ``TOLERANCES`` for the precision: 0.001, or 0.1 if ``half``.
        stream: 'exact' or 'window' for a file that takes one frame at a time, see
            :class:`ExportedStream`. Default: None, whole clips.
        average_frames: See :class:`ExportedStream`. Default: None.
        video: Video for the comparison. Default: None, the sample clip of this package.
        classes: See :class:`~selfy_mmaction.inference.Predictor`. Default: None.

    Raises:
        ComparisonError: If the file differs from the network.
        ExportError: If the network cannot be exported.
        ImportError: If the packages of the format are missing.
        OSError: If a file does not exist or cannot be written.
        ValueError: If an argument is wrong, or the network cannot stream.
        UnreadableError: If the video cannot be decoded.
    """
    out = Path(out)
    check_format(format, out)
    _check_stream(stream, average_frames)
    if tolerance is None:
        tolerance = TOLERANCES['half' if half else 'single']
    elif not 0 < tolerance < math.inf:
        raise ValueError(f'tolerance must be a positive number, got {tolerance}')
    if not out.parent.is_dir():
        raise FileNotFoundError(f'the folder of {out} does not exist; create it')
    (video,) = find_videos(SAMPLE_CLIP if video is None else video)
    predictor = Predictor(config, checkpoint, classes=classes, device='cpu')
    check_kind(predictor.model)
    check_modules(predictor.model, format, dynamic)
    clips = read_clips(predictor, video)
    frames = torch.stack([clip['inputs'] for clip in clips])
    network: Exportable
    if stream is None:
        network = ExportedNetwork(predictor.model, frames[0], takes)
    else:
        size = (frames.size(-2), frames.size(-1))
        network = ExportedStream(predictor.model, size, stream, average_frames, takes)
    inputs = frames if takes == 'frames' else network.normalize(frames)
    if half:
        network.to_half()
    traced = _TRACED if dynamic else 1
    batches = (1, _TRACED, 3) if dynamic else (1,)
    if isinstance(network, ExportedStream):
        example = (inputs[:traced, 0], *network.clean_state(traced))
        exported = export(network, example, format, dynamic)
        comparison = compare_stream(
            exported.run, network, predictor, clips, inputs, batches, tolerance
        )
        inputs = inputs[:, 0]
    else:
        exported = export(network, inputs[:traced], format, dynamic)
        comparison = compare(exported.run, predictor, clips, inputs, batches, tolerance)
    if not comparison.passed:
        raise ComparisonError(
            f'{out} is not written: run by {exported.runtime}, it differs from the '
            f'network on {video}: {comparison}; if a deep network rounds that much, '
            'allow more with --tolerance (tolerance)'
        )
    card = describe(
        network,
        exported,
        comparison,
        predictor,
        inputs,
        format=format,
        dynamic=dynamic,
        half=half,
        video=video,
    )
    content = exported.describe(as_metadata(card))
    with replacing(out) as partial:
        partial.write_bytes(content)
    with replacing(f'{out}.json') as partial:
        partial.write_text(as_json(card), encoding='utf-8')
    return comparison


def _check_stream(stream: str | None, average_frames: int | None) -> None:
    if stream is not None:
        check_choice('stream', stream, STREAMS)
    if average_frames is None:
        return
    if stream != 'exact':
        raise ValueError(
            f'average_frames={average_frames} is the number of frames whose scores an '
            f"exact stream averages, but stream={stream!r}; set stream='exact'"
        )
    check_int('average_frames', average_frames, least=1)
