# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Checks that run code: workarounds, imports, decoding and the self-similarity."""

from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from selfy_mmaction.compat import apply_workaround

from .check import FAIL, OK, Check, describe
from .installed import owners_of

_AFTER_THE_REST = 'fix the lines above first; report this if none failed'


def check_workaround(workaround: str) -> Check:
    """Apply a workaround of ``selfy_mmaction.compat``."""
    name = f'workaround {workaround}'
    try:
        applied = apply_workaround(workaround)
    except Exception as error:
        return Check(name, FAIL, describe(error), _AFTER_THE_REST)
    return Check(name, OK, 'applied' if applied else 'not needed')


def check_import(module: str) -> Check:
    """Check that a module imports."""
    try:
        import_module(module)
    except Exception as error:
        return Check(f'import {module}', FAIL, describe(error), _AFTER_THE_REST)
    return Check(f'import {module}', OK, 'imports')


def check_video(folder: Path) -> Check:
    """Check that decord reads a video that OpenCV writes into a folder.

    Compares number, size and brightness of the frames.
    """
    name = 'decord reads a video'
    owner = next(iter(owners_of('decord')), 'decord')
    fix = (
        f'pip install --force-reinstall --no-deps {owner}, or use PyAV: '
        'pip install av, and set SELFY_DECODER=PyAV'
    )
    # Multiples of the macroblock size: decord cannot batch some other sizes.
    width, height = 64, 48
    gray = [20, 90, 160, 230]
    try:
        import cv2
        import decord
        import numpy as np

        path = str(folder / 'gray.mp4')
        writer = cv2.VideoWriter(
            path, cv2.VideoWriter_fourcc(*'mp4v'), 5, (width, height)
        )
        for value in gray:
            writer.write(np.full((height, width, 3), value, np.uint8))
        writer.release()
        frames = decord.VideoReader(path).get_batch(range(len(gray))).asnumpy()
    except Exception as error:
        return Check(name, FAIL, describe(error), fix)
    if frames.shape != (len(gray), height, width, 3):
        return Check(name, FAIL, f'the frames have shape {frames.shape}', fix)
    seen = frames.mean(axis=(1, 2, 3))
    if abs(seen - gray).max() > 16:
        return Check(name, FAIL, f'wrote gray {gray}, read {seen.round(1)}', fix)
    return Check(name, OK, f'{len(gray)} frames, correct values')


def check_triton(device: str) -> Check:
    """Check whether the self-similarity uses its Triton kernels on a GPU.

    It is not a failure if Triton is not installed: PyTorch computes the same, slower.
    """
    name = f'triton on {device}'
    try:
        import torch

        from selfy_mmaction.ops.backends import reasons_against_triton

        # The sizes in the paper's networks.
        reasons = reasons_against_triton(
            torch.device(device), torch.float16, (128, 14, 14), 5, (9, 9)
        )
    except Exception as error:
        return Check(name, FAIL, describe(error), _AFTER_THE_REST)
    if not reasons:
        return Check(name, OK, 'used for the self-similarity')
    if find_spec('triton') is None:
        return Check(name, OK, 'not installed; self-similarity uses torch, slower')
    return Check(name, FAIL, '; '.join(reasons), 'pip install --upgrade torch triton')


def check_similarity(device: str, backend: str) -> Check:
    """Check values and gradient of the self-similarity on one device.

    The reference is the plain loops of Eq. 1 in double precision on the CPU. Training
    with a faulty kernel raises no error, but reaches a lower accuracy.
    """
    name = f'similarity on {device}, {backend}'
    try:
        import torch

        from selfy_mmaction.ops import self_similarity, self_similarity_loops

        generator = torch.Generator().manual_seed(0)
        feats = torch.randn(6, 7, 3, 5, generator=generator)
        shape = (2, 3, 3, 5, 3, 3, 5)
        weights = torch.randn(shape, generator=generator)
        window = {'offsets': (-1, 0, 2), 'window': (3, 5), 'num_segments': 3}
        results = []
        for function, where, dtype in (
            (self_similarity_loops, 'cpu', torch.float64),
            (partial(self_similarity, backend=backend), device, torch.float32),
        ):
            leaf = feats.to(where, dtype).requires_grad_()
            values = function(leaf, **window)
            values.backward(weights.to(values))
            results.append(
                [tensor.detach().cpu().double() for tensor in (values, leaf.grad)]
            )
        errors = [
            (right - found).abs().max().item()
            for right, found in zip(*results, strict=True)
        ]
    except Exception as error:
        return Check(name, FAIL, describe(error), _AFTER_THE_REST)
    detail = f'maximum error {errors[0]:.1e}, of the gradient {errors[1]:.1e}'
    # Not `any(error > ...)`: NaN must fail.
    if not all(error < 1e-4 for error in errors):
        return Check(name, FAIL, detail, 'pip install --force-reinstall torch')
    return Check(name, OK, detail)


def devices() -> list[str]:
    """List the devices to check: the CPU, then each CUDA device."""
    try:
        import torch
    except Exception:
        return ['cpu']
    return ['cpu', *(f'cuda:{i}' for i in range(torch.cuda.device_count()))]
