# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Exported files in the programs that run them, each with a given number of threads."""

import os
from pathlib import Path

import numpy as np
import torch

from selfy_mmaction.ops import check_choice, check_int

from .formats import Run, as_run

#: Extension of the files of each runtime. The first for an extension is the default.
RUNTIMES = {
    'onnxruntime': '.onnx',
    'openvino': '.onnx',
    'torchscript': '.pt',
    'pt2': '.pt2',
}


def open_file(
    path: str | os.PathLike, runtime: str | None = None, threads: int | None = None
) -> Run:
    """Open an exported file on the CPU.

    Args:
        path: The file.
        runtime: What runs it: one of ``RUNTIMES``. Default: None, by the extension.
        threads: Number of CPU threads. ``torchscript`` and ``pt2`` have those of torch,
            for the whole process. Default: None, that of the runtime.

    Returns:
        Function from the frames of a batch to probabilities.

    Raises:
        ImportError: If the runtime is not installed; names the extra that installs it.
        FileNotFoundError: If the file does not exist.
        ValueError: If ``runtime`` or ``threads`` is wrong, or the file is of another
            format.
    """
    if threads is not None:
        check_int('threads', threads)
    path = Path(path)
    ending = path.suffix.lower()
    fitting = [name for name, suffix in RUNTIMES.items() if suffix == ending]
    if not fitting:
        raise ValueError(
            f'{path} is not an exported file: its name must end in '
            f'{", ".join(dict.fromkeys(RUNTIMES.values()))}'
        )
    runtime = check_choice('runtime', runtime or fitting[0], tuple(RUNTIMES))
    if runtime not in fitting:
        raise ValueError(
            f'{runtime} runs {RUNTIMES[runtime]} files; {path} is run by '
            f'{" or ".join(fitting)}'
        )
    if not path.is_file():
        raise FileNotFoundError(f'the exported file {path} does not exist')
    if runtime == 'onnxruntime':
        return _in_onnxruntime(path, threads)
    if runtime == 'openvino':
        return _in_openvino(path, threads)
    if threads is not None:
        torch.set_num_threads(threads)
    if runtime == 'torchscript':
        return as_run(torch.jit.load(path, map_location='cpu'))
    return as_run(torch.export.load(path).module())


def _in_onnxruntime(path: Path, threads: int | None) -> Run:
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing('onnxruntime', 'deploy') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0  # 0: its default
    session = onnxruntime.InferenceSession(
        path, options, providers=['CPUExecutionProvider']
    )
    name = session.get_inputs()[0].name

    def run(frames: np.ndarray) -> np.ndarray:
        return session.run(None, {name: frames})[0]

    return run


def _in_openvino(path: Path, threads: int | None) -> Run:
    try:
        import openvino
    except ImportError as error:
        raise _missing('openvino', 'openvino') from error
    # One stream: a batch gets all threads. Some CPUs would compute in bfloat16.
    options = {'NUM_STREAMS': 1, 'INFERENCE_PRECISION_HINT': 'f32'}
    if threads is not None:
        options['INFERENCE_NUM_THREADS'] = threads
    compiled = openvino.Core().compile_model(path, 'CPU', options)
    request = compiled.create_infer_request()

    def run(frames: np.ndarray) -> np.ndarray:
        # A copy, because the next call overwrites the result.
        return request.infer([frames])[0].copy()

    return run


def _missing(name: str, extra: str) -> ImportError:
    return ImportError(
        f"{name} is not installed; pip install 'selfy-mmaction[{extra}]'"
    )
