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

from .exported_network import Exportable

#: Extension of each format.
FORMATS = {'onnx': '.onnx', 'torchscript': '.pt', 'pt2': '.pt2'}

_TORCH = f'torch {torch.__version__}'
#: Runs a file: as the forward of the network, with arrays instead of tensors.
Run = Callable[..., Any]


class ExportError(ValueError):
    """Raised if a network cannot be exported; names the network and the reason."""


class ExportedFile(NamedTuple):
    """An exported network in memory.

    Attributes:
        content: Content of the file, without metadata.
        run: Runs the content.
        runtime: Name and version of what runs it.
        describe: Returns the content with metadata, texts by name.
    """

    content: bytes
    run: Run
    runtime: str
    describe: Callable[[dict[str, str]], bytes]


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
    network: Exportable,
    example: Tensor | tuple[Tensor, ...],
    format: str,
    dynamic: bool = True,
) -> ExportedFile:
    """Export a network.

    Args:
        network: The network.
        example: Its inputs, or its only input; a batch of two or more if ``dynamic``.
        format: 'onnx', 'torchscript' or 'pt2'.
        dynamic: Whether the file takes batches of any size; otherwise of that of
            ``example``. Default: True.

    Raises:
        ExportError: If the exporter fails.
    """
    if isinstance(example, Tensor):
        example = (example,)
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


def _to_onnx(
    network: Exportable, example: tuple[Tensor, ...], dynamic: bool
) -> ExportedFile:
    import onnx
    import onnxruntime

    program: Any = torch.onnx.export(
        network,
        example,
        input_names=list(network.inputs),
        output_names=list(network.outputs),
        dynamic_shapes=_dynamic_shapes(network, dynamic),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    proto = program.model_proto
    content = proto.SerializeToString()
    onnx.checker.check_model(content, full_check=True)
    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])

    def run(*arrays: np.ndarray) -> Any:
        named = dict(zip(network.inputs, arrays, strict=True))
        results = session.run(list(network.outputs), named)
        return results[0] if len(results) == 1 else tuple(results)

    def describe(metadata: dict[str, str]) -> bytes:
        onnx.helper.set_model_props(proto, metadata)
        return proto.SerializeToString()

    runtime = f'onnxruntime {onnxruntime.__version__}'
    return ExportedFile(content, run, runtime, describe)


def _to_torchscript(
    network: Exportable, example: tuple[Tensor, ...], dynamic: bool
) -> ExportedFile:
    # check_trace would run the network twice more; the result is compared in any case.
    traced = torch.jit.freeze(torch.jit.trace(network, example, check_trace=False))

    def describe(metadata: dict[str, str]) -> bytes:
        file = io.BytesIO()
        torch.jit.save(traced, file, _extra_files=metadata)
        return file.getvalue()

    content = describe({})
    loaded = torch.jit.load(io.BytesIO(content))
    return ExportedFile(content, as_run(loaded), _TORCH, describe)


def _to_pt2(
    network: Exportable, example: tuple[Tensor, ...], dynamic: bool
) -> ExportedFile:
    # Otherwise torch.export adds a guard that refuses a batch of 1.
    with fx_config.patch(backed_size_oblivious=True):
        program = torch.export.export(
            network,
            example,
            dynamic_shapes=_dynamic_shapes(network, dynamic),
            strict=False,  # with Dynamo, torch 2.6 would keep our operator
        )

    def describe(metadata: dict[str, str]) -> bytes:
        file = io.BytesIO()
        torch.export.save(program, file, extra_files=metadata)
        return file.getvalue()

    content = describe({})
    loaded = torch.export.load(io.BytesIO(content)).module()
    return ExportedFile(content, as_run(loaded), _TORCH, describe)


def _dynamic_shapes(network: Exportable, dynamic: bool) -> tuple[Any, ...] | None:
    if not dynamic:
        return None
    batch = {0: torch.export.Dim('batch')}
    # Not None, with which torch.onnx fails if it is that of all tensors of the state.
    first, *others = [batch if batched else {} for batched in network.batched]
    return (first, tuple(others)) if others else (first,)


def as_run(module: Callable[..., Any]) -> Run:
    """Let a module of torch take and return arrays."""

    def run(*arrays: np.ndarray) -> Any:
        with torch.no_grad():
            results = module(*map(torch.from_numpy, arrays))
        if isinstance(results, Tensor):
            return results.numpy()
        return tuple(result.numpy() for result in results)

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
