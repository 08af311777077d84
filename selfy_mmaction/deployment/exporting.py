# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Export of a trained network to a file, compared and described."""

import json
import os
from pathlib import Path
from typing import Any

import mmaction
import numpy as np
import torch
from mmengine.config import Config

from selfy_mmaction.atomic_files import replacing
from selfy_mmaction.checkpoints import SAMPLE_CLIP
from selfy_mmaction.inference import Predictor
from selfy_mmaction.inference.pipeline import find_test_pipeline
from selfy_mmaction.inference.videos import find_videos
from selfy_mmaction.version import __version__

from .comparison import Comparison, compare, read_clips
from .exportable_models import check_kind, check_modules
from .exported_network import ExportedNetwork
from .formats import INPUT, OUTPUT, check_format, export

_TRACED = 2  # clips; exporters take a size of 1 for a constant


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
    video: str | os.PathLike | None = None,
    classes: str | os.PathLike | None = None,
) -> Comparison:
    """Export a network and compare the file with it.

    Writes ``out`` and, beside it, ``out`` + '.json' with the class names, the
    preprocessing, the comparison and the versions; both only if the comparison passes.

    Args:
        config: See :class:`~selfy_mmaction.inference.Predictor`.
        checkpoint: See :class:`~selfy_mmaction.inference.Predictor`.
        out: File to write.
        format: 'onnx', 'torchscript' or 'pt2'. Default: 'onnx'.
        takes: See :class:`ExportedNetwork`. Default: 'frames'.
        dynamic: Whether the file takes any number of clips; otherwise one.
            Default: True.
        half: Whether the file computes in half precision. Default: False.
        video: Video for the comparison. Default: None, the sample clip of this package.
        classes: See :class:`~selfy_mmaction.inference.Predictor`. Default: None.

    Raises:
        ComparisonError: If the file differs from the network.
        ExportError: If the network cannot be exported.
        ImportError: If the packages of the format are missing.
        OSError: If a file does not exist or cannot be written.
        ValueError: If an argument is wrong.
        UnreadableError: If the video cannot be decoded.
    """
    out = Path(out)
    check_format(format, out)
    if not out.parent.is_dir():
        raise FileNotFoundError(f'the folder of {out} does not exist; create it')
    (video,) = find_videos(SAMPLE_CLIP if video is None else video)
    predictor = Predictor(config, checkpoint, classes=classes, device='cpu')
    check_kind(predictor.model)
    check_modules(predictor.model, format, dynamic)
    clips = read_clips(predictor, video)
    frames = torch.stack([clip['inputs'] for clip in clips])
    network = ExportedNetwork(predictor.model, frames[0], takes)
    inputs = frames if takes == 'frames' else network.normalize(frames)
    if half:
        network.to_half()
    exported = export(
        network, inputs[: _TRACED if dynamic else 1], format, dynamic=dynamic
    )
    batches = (1, _TRACED, 3) if dynamic else (1,)
    comparison = compare(exported.run, predictor, clips, inputs, batches, half)
    if not comparison.passed:
        raise ComparisonError(
            f'{out} is not written: run by {exported.runtime}, it differs from the '
            f'network on {video}: {comparison}'
        )
    shape = list(inputs.shape)
    shape[0] = 'batch' if dynamic else 1
    card = dict(
        format=format,
        input=dict(
            name=INPUT,
            shape=shape,
            dtype=str(inputs.dtype).removeprefix('torch.'),
            views=network.num_views,
        ),
        output=dict(name=OUTPUT, shape=[shape[0], predictor.num_classes]),
        classes=predictor.class_names,
        preprocessing=_preprocessing(predictor, takes),
        half=half,
        average_clips=predictor.model.cls_head.average_clips,
        comparison=dict(
            comparison.as_dict(),
            runtime=exported.runtime,
            video=os.path.basename(video),
        ),
        versions=dict(
            selfy_mmaction=__version__,
            mmaction2=mmaction.__version__,
            torch=torch.__version__,
        ),
    )
    with replacing(out) as partial:
        partial.write_bytes(exported.content)
    with replacing(f'{out}.json') as partial:
        text = json.dumps(card, indent=2, ensure_ascii=False, default=_plain)
        partial.write_text(text + '\n', encoding='utf-8')
    return comparison


def _preprocessing(predictor: Predictor, takes: str) -> dict[str, Any]:
    preprocessor = predictor.model.data_preprocessor
    normalization: dict[str, Any] = dict(to_rgb=preprocessor.to_rgb)
    if preprocessor._enable_normalize:
        normalization.update(
            mean=preprocessor.mean.flatten().tolist(),
            std=preprocessor.std.flatten().tolist(),
        )
    return dict(
        normalization=normalization,
        normalized_inside=takes == 'frames',
        test_pipeline=find_test_pipeline(predictor.model.cfg),
    )


def _plain(value: Any) -> Any:
    """Convert what JSON lacks: arrays of numbers, and any other value as text."""
    return value.tolist() if isinstance(value, np.ndarray) else str(value)
