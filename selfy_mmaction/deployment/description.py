# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Description of an exported file: the JSON beside it, and the metadata inside it."""

import json
import os
from typing import Any

import mmaction
import numpy as np
import torch

from selfy_mmaction.inference import Predictor
from selfy_mmaction.inference.pipeline import find_test_pipeline
from selfy_mmaction.version import __version__

from .comparison import Comparison
from .exported_network import Exportable, ExportedNetwork
from .exported_stream import ExportedStream
from .formats import ExportedFile


def describe(
    network: Exportable,
    exported: ExportedFile,
    comparison: Comparison,
    predictor: Predictor,
    inputs: torch.Tensor,
    *,
    format: str,
    dynamic: bool,
    half: bool,
    video: str,
) -> dict[str, Any]:
    """Describe an exported file.

    Args:
        network: What was exported.
        exported: The file.
        comparison: How it differs from the network.
        predictor: The network with its class names and pipeline.
        inputs: Batch of its first input.
        format: Format of the file.
        dynamic: Whether the file takes batches of any size.
        half: Whether it computes in half precision.
        video: Video of the comparison.

    Returns:
        Values that JSON knows, by name.
    """
    batch: Any = 'batch' if dynamic else 1
    card = dict(
        format=format,
        input=dict(
            name=network.inputs[0],
            shape=[batch, *inputs.shape[1:]],
            dtype=_dtype(inputs.dtype),
        ),
        output=dict(name=network.outputs[0], shape=[batch, predictor.num_classes]),
        classes=predictor.class_names,
        preprocessing=_preprocessing(predictor, network.takes),
        half=half,
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
    if isinstance(network, ExportedNetwork):
        card['input']['views'] = network.num_views
        card['average_clips'] = predictor.model.cls_head.average_clips
    if isinstance(network, ExportedStream):
        card['stream'] = _stream(network, batch)
    # Through JSON, which lacks arrays of numbers; any other value becomes text.
    return json.loads(json.dumps(card, default=_plain))


def as_json(card: dict[str, Any]) -> str:
    """Return a description as the text of a JSON file."""
    return json.dumps(card, indent=2, ensure_ascii=False) + '\n'


def as_metadata(card: dict[str, Any]) -> dict[str, str]:
    """Return a description as texts by name, for the metadata of a file.

    ``description`` is all of it as JSON. For programs that cannot read JSON,
    ``classes`` has one class name per line, and ``input.shape``, ``input.dtype``, ...
    are the values of ``input``, with blanks between the sizes.
    """
    lines = [' '.join(name.splitlines()) for name in card['classes']]
    texts = dict(description=as_json(card), classes='\n'.join(lines))
    for name, value in card['input'].items():
        parts = value if isinstance(value, list) else [value]
        texts[f'input.{name}'] = ' '.join(map(str, parts))
    return texts


def _stream(network: ExportedStream, batch: Any) -> dict[str, Any]:
    stream = network.stream
    length = 'average_frames' if network.mode == 'exact' else 'num_frames'
    names = zip(network.inputs[1:], network.outputs[1:], network.state, strict=True)
    return dict(
        mode=network.mode,
        delay=stream.delay,
        **{length: getattr(stream, length)},
        state=[
            dict(
                input=given,
                output=following,
                shape=[batch, *each.shape[1:]] if each.batched else list(each.shape),
                dtype=_dtype(each.dtype),
                holds=each.holds,
            )
            for given, following, each in names
        ],
    )


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


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix('torch.')


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else str(value)
