# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Files that run a network without this package: ONNX, TorchScript and PT2."""

import importlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.fx.experimental._config as fx_config
from torch import Tensor

from .exported_network import ExportedNetwork

INPUT, OUTPUT = 'frames', 'probabilities'
#: Extension of each format.
FORMATS = {'onnx': '.onnx', 'torchscript': '.pt', 'pt2': '.pt2'}

Run = Callable[[np.ndarray], np.ndarray]


class ExportError(ValueError):
    """Raised if a network cannot be exported; names the network and the reason."""


class ExportedFile(NamedTuple):
    """An exported network in memory.

    Attributes:
        content: Content of the file.
        run: Runs the file's content: frames of a batch to probabilities.
        runtime: Name and version of what runs it.
    """

    content: bytes
    run: Run
    runtime: str


def check_format(format: str, out: Path) -> None:
    """Check that a format is installed and fits the name of the file.

    Raises:
        ImportError: If a package is missing; names the extra that installs it.
        ValueError: If the format is unknown or the extension is not its own.
    """
    if format not in FORMATS:
        raise ValueError(f'format must be one of {", ".join(FORMATS)}, not {format!r}')
    if out.suffix.lower() != FORMATS[format]:
        raise ValueError(
            f'{out} must end in {FORMATS[format]} for the format {format}; rename it, '
            'or choose another format'
        )
    if format != 'onnx':
        return
    missing = []
    for name in ('onnx', 'onnxruntime', 'onnxscript'):
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise ImportError(
            f"{', '.join(missing)} missing; pip install 'selfy-mmaction[deploy]'"
        )


def export(
    network: ExportedNetwork, example: Tensor, format: str, dynamic: bool = True
) -> ExportedFile:
    """Export a network.

    Args:
        network: The network.
        example: A batch of inputs, of two clips or more if ``dynamic``.
        format: 'onnx', 'torchscript' or 'pt2'.
        dynamic: Whether the file takes any number of clips; otherwise as many as
            ``example`` has. Default: True.

    Raises:
        ExportError: If the exporter fails.
    """
    function = {'onnx': _to_onnx, 'torchscript': _to_torchscript, 'pt2': _to_pt2}
    try:
        with _quiet(), torch.no_grad():
            return function[format](network, example, dynamic)
    except Exception as error:  # exporters raise any error
        model = network.model
        parts = [type(model).__name__, type(model.backbone).__name__]
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = ' '.join(lines[:3])[:600]
        raise ExportError(
            f'{" with ".join(parts)} cannot be exported to {format}: '
            f'{type(error).__name__}: {reason}'
        ) from error


def _to_onnx(network: ExportedNetwork, example: Tensor, dynamic: bool) -> ExportedFile:
    import onnx
    import onnxruntime

    program: Any = torch.onnx.export(
        network,
        (example,),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=_dynamic_shapes(dynamic),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    content = program.model_proto.SerializeToString()
    onnx.checker.check_model(content, full_check=True)
    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])

    def run(frames: np.ndarray) -> np.ndarray:
        return session.run([OUTPUT], {INPUT: frames})[0]

    return ExportedFile(content, run, f'onnxruntime {onnxruntime.__version__}')


def _to_torchscript(
    network: ExportedNetwork, example: Tensor, dynamic: bool
) -> ExportedFile:
    # check_trace would run the network twice more; the result is compared in any case.
    traced = torch.jit.trace(network, example, check_trace=False)
    file = io.BytesIO()
    torch.jit.save(torch.jit.freeze(traced), file)
    file.seek(0)
    return ExportedFile(
        file.getvalue(), _as_run(torch.jit.load(file)), f'torch {torch.__version__}'
    )


def _to_pt2(network: ExportedNetwork, example: Tensor, dynamic: bool) -> ExportedFile:
    # Otherwise torch.export adds a guard that refuses a batch of 1.
    with fx_config.patch(backed_size_oblivious=True):
        program = torch.export.export(
            network,
            (example,),
            dynamic_shapes=_dynamic_shapes(dynamic),
            strict=False,  # with Dynamo, torch 2.6 would keep our operator
        )
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    return ExportedFile(file.getvalue(), _as_run(loaded), f'torch {torch.__version__}')


def _dynamic_shapes(dynamic: bool) -> dict[str, Any] | None:
    return {INPUT: {0: torch.export.Dim('batch')}} if dynamic else None


def _as_run(module: Callable[[Tensor], Tensor]) -> Run:
    def run(frames: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(frames)).numpy()

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the exporters' warnings; the comparison finds what they warn of."""
    loggers = [logging.getLogger(name) for name in ('torch.onnx', 'onnxscript')]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
