# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Implementations by others: what can be had of them, and why not the rest."""

import contextlib
import importlib.util
import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from selfy_mmaction.checkpoints.official import official_name

FALLBACK, WITH_SAMPLER = 'released code, fallback', 'released code, sampler'
Correlation = Callable[[Tensor, Tensor], Tensor]


class _TorchOn:
    """``torch`` for the released code, whose fallback asks for zeros on CUDA."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._options = dict(device=device, dtype=dtype)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def zeros(self, *args, **kwargs) -> Tensor:
        return torch.zeros(*args, **{**kwargs, **self._options})


class Peers:
    """What is asked for and can be had.

    Args:
        device: Of the run.
        sampler: Whether the authors' compiled sampler is wanted.
        released: Checkout of the authors' repository, or None.

    Attributes:
        correlations: Samplers by name: functions from a window to an operator of two
            batches of features, (B, C, H, W) to (B, U, V, H, W).
        skipped: Names of all others, and reasons.

    Raises:
        ValueError: ``released`` holds no ``ops/selfy.py``.
    """

    def __init__(
        self, device: torch.device, sampler: bool, released: Path | None
    ) -> None:
        self.correlations: dict[str, Callable[[tuple[int, int]], Correlation]] = {}
        self.skipped: list[dict[str, str]] = []
        self._device = device
        self._file = None if released is None else released / 'ops' / 'selfy.py'
        if self._file is not None and not self._file.is_file():
            raise ValueError(
                f'--peer-released: there is no {self._file}; give the root of a '
                'checkout of https://github.com/arunos728/SELFY'
            )
        self._find_sampler(sampler)
        self._find_mmcv()
        self._variants = self._find_released()

    def skip(self, name: str, reason: str) -> None:
        """Note why a peer is left out, once."""
        peer = dict(name=name, reason=reason)
        if peer not in self.skipped:
            self.skipped.append(peer)

    @contextlib.contextmanager
    def skipping(self, name: str) -> Iterator[None]:
        """Skip a peer that cannot be built; it may fail in any way."""
        try:
            yield
        except Exception as error:
            self.skip(name, f'{type(error).__name__}: {error}')

    def _find_sampler(self, wanted: bool) -> None:
        name = 'correlation sampler'
        if not wanted:
            self.skip(name, 'not asked for: --peer-sampler')
            return
        try:
            from spatial_correlation_sampler import SpatialCorrelationSampler
        except ImportError as error:
            self.skip(
                name, f'{error}; pip install spatial-correlation-sampler (compiles)'
            )
            return
        self.correlations[name] = lambda window: SpatialCorrelationSampler(
            kernel_size=1, patch_size=window
        )

    def _find_mmcv(self) -> None:
        name = 'mmcv.ops.Correlation'
        if self._device.type != 'cuda':
            self.skip(name, 'runs on CUDA only')
            return
        try:
            from mmcv.ops import Correlation as MMCVCorrelation
        except (ImportError, AttributeError) as error:
            self.skip(name, f'needs a full mmcv with its CUDA operators: {error}')
            return

        def build(window: tuple[int, int]) -> Correlation:
            if window[0] != window[1]:
                raise ValueError(f'takes square windows only, not {window}')
            return MMCVCorrelation(max_displacement=window[0] // 2)

        self.correlations[name] = build

    def _find_released(self) -> dict[str, bool]:
        """Variants of the released code, and whether each uses the sampler."""
        if self._file is None:
            for name in (FALLBACK, WITH_SAMPLER):
                self.skip(name, 'not asked for: --peer-released PATH')
            return {}
        try:
            self._load(torch.float32)
        except Exception as error:  # it may fail in any way
            for name in (FALLBACK, WITH_SAMPLER):
                self.skip(name, f'{self._file.name}: {type(error).__name__}: {error}')
            return {}
        if 'correlation sampler' in self.correlations:
            return {FALLBACK: False, WITH_SAMPLER: True}
        self.skip(WITH_SAMPLER, 'without the correlation sampler, see there')
        return {FALLBACK: False}

    def _load(self, dtype: torch.dtype) -> ModuleType:
        """Run the one file, nothing around it, for a device and dtype."""
        spec = importlib.util.spec_from_file_location('released_selfy', self._file)
        module = importlib.util.module_from_spec(spec)
        with contextlib.redirect_stdout(io.StringIO()):  # says what it cannot import
            spec.loader.exec_module(module)
        module.tr = _TorchOn(self._device, dtype)
        return module

    def released(
        self, cls: str, offsets: Sequence[int], window: tuple[int, int]
    ) -> dict[str, Callable[..., nn.Module]]:
        """Builders of a class of the released code, by name of the variant.

        Args:
            cls: Name of the class.
            offsets: Temporal offsets; that code knows -n to n only.
            window: ``(U, V)``; that code knows squares only.

        Returns:
            Functions of a dtype and the class's arguments but for ``window``.
        """
        reach = len(offsets) // 2
        usable = tuple(offsets) == tuple(range(-reach, reach + 1))
        if self._variants and not (usable and window[0] == window[1]):
            for name in self._variants:
                self.skip(name, 'knows offsets -n to n and square windows only')
            return {}

        def build(use_sampler: bool, dtype: torch.dtype, *args, **kwargs) -> nn.Module:
            kwargs['window'] = (len(offsets), *window)
            with contextlib.redirect_stdout(io.StringIO()):
                module = getattr(self._load(dtype), cls)(*args, **kwargs)
            for part in module.modules():
                if hasattr(part, 'use_corr_sampler'):
                    part.use_corr_sampler = use_sampler
            return module

        return {name: partial(build, use) for name, use in self._variants.items()}


def similarity_by_sampling(
    correlation: Correlation,
    feats: Tensor,
    offsets: Sequence[int],
    num_segments: int,
    eps: float = 1e-6,
) -> Tensor:
    """Eq. 1 with an operator that compares two batches of frames.

    As such operators ask for it: every frame is repeated for every offset, and put
    beside the neighbor of that offset.

    Args:
        correlation: (B, C, H, W) twice to (B, U, V, H, W).
        feats: (N*T, C, H, W).
        offsets: Temporal offsets.
        num_segments: Frames per clip, T.
        eps: Added to the squared norms. Default: 1e-6.

    Returns:
        (N, T, H, W, L, U, V).
    """
    clips = feats / (feats.square().sum(1, keepdim=True) + eps).sqrt()
    clips = clips.unflatten(0, (-1, num_segments))
    reach = max(map(abs, offsets))
    padded = F.pad(clips, (0,) * 6 + (reach, reach))
    keys = [padded[:, reach + i : reach + i + num_segments] for i in offsets]
    queries = torch.stack([clips] * len(offsets), 2).flatten(0, 2)
    values = correlation(queries, torch.stack(keys, 2).flatten(0, 2))
    values = values.unflatten(0, (-1, num_segments, len(offsets)))
    return values.permute(0, 1, 5, 6, 2, 3, 4)


def copy_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Give the released code's block the weights of our block in its form."""
    state = theirs.state_dict()
    for name, value in ours.state_dict().items():
        other = official_name('backbone.inserted_blocks.layer2.' + name)
        other = other.removeprefix('base_model.selfy.')
        state[other] = value.reshape(state[other].shape)
    theirs.load_state_dict(state)
