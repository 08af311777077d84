# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Recorded runs of the code of MOSS and RLDX-1 are repeated.

Files, keys and layouts: ``tests/data/golden/README.md``.
"""

import json
import math

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from test_golden import GOLDEN, assert_near
from torch import Tensor

from selfy_mmaction.checkpoints.moss import (
    convert_motion_module,
    find_module_config,
)

FILES = sorted(path.stem for path in GOLDEN.glob('*_n[0-9]_L[0-9].npz'))
SIMILARITIES = dict(
    cosine='cosine', dotproduct='scaled_dot', dotproduct_softmax='softmax'
)


class Recording:
    """A recording, and our module with its weights, built from their shapes."""

    def __init__(self, name: str) -> None:
        with np.load(GOLDEN / f'{name}.npz') as file:
            self.meta = json.loads(str(file['meta']))
            self.values = {
                key: torch.from_numpy(file[key]) for key in file.files if key != 'meta'
            }
        self.values = {
            key: value.double() if value.is_floating_point() else value
            for key, value in self.values.items()
        }
        self.official = {
            key.removeprefix('param:'): value
            for key, value in self.values.items()
            if key.startswith('param:')
        }
        self.config = find_module_config(
            self.official, SIMILARITIES[self.meta['corr_func']]
        )
        self.module = MODELS.build(dict(self.config)).double()
        self.module.load_state_dict(self.convert(self.official))

    def convert(self, official: dict[str, Tensor]) -> dict[str, Tensor]:
        return convert_motion_module(official, self.config)

    def grids(self) -> list[tuple[int, int, int, int]]:
        """Return (N, T, H, W) of the clips that go through together."""
        if 'side' in self.meta:
            side = self.meta['side']
            return [(self.meta['batch'], self.meta['num_segments'], side, side)]
        sizes = [tuple(size) for size in self.meta['grid_sizes']]
        if len(set(sizes)) == 1:
            return [(len(sizes), *sizes[0])]
        return [(1, *size) for size in sizes]

    def frames(self, tokens: Tensor, grid: tuple[int, ...]) -> Tensor:
        """Bring the tokens of one grid to our layout, (N*T, C, H, W)."""
        if 'side' in self.meta:  # (H*W, B*T, C)
            return tokens.unflatten(0, grid[2:]).permute(2, 3, 0, 1)
        return tokens.unflatten(0, (-1, *grid[2:])).permute(0, 3, 1, 2)

    def videos(self, tokens: Tensor) -> list[Tensor]:
        """Bring the tokens of all grids, one after the other, to our layout."""
        sizes = [math.prod(grid) for grid in self.grids()]
        parts = [tokens] if 'side' in self.meta else tokens.split(sizes)
        return [*map(self.frames, parts, self.grids())]


@pytest.fixture(scope='module', params=FILES)
def recording(request):
    return Recording(request.param)


@pytest.mark.parametrize('mode', ['eval', 'train'])
def test_values_and_gradients(recording, mode):
    module, values = recording.module, recording.values
    module.load_state_dict(recording.convert(recording.official))
    module.train(mode == 'train').zero_grad()

    def recorded(key: str) -> list[Tensor]:
        return recording.videos(values[key if key in values else f'{mode}:{key}'])

    parts = {key: recorded(key) for key in ('x', 'grad_y', 'y', 'grad_x')}
    for x, grad_y, y, grad_x, (_, length, *_) in zip(
        *parts.values(), recording.grids(), strict=True
    ):
        x = x.clone().requires_grad_()
        out = module(x, length)
        out.backward(grad_y)
        assert_near(out.detach(), y, 'y')
        assert_near(x.grad, grad_x, 'grad_x')
    gradients = recording.convert(
        {
            name: values.get(f'{mode}:grad:{name}', value)
            for name, value in recording.official.items()
        }
    )
    for name, parameter in module.named_parameters():
        assert_near(parameter.grad, gradients[name], name)
    statistics = recording.convert(
        {
            name: values.get(f'{mode}:buffer:{name}', value)
            for name, value in recording.official.items()
        }
    )
    for name, buffer in module.named_buffers():
        # They may all be zero, which assert_near cannot compare.
        expected = statistics[name].to(buffer)
        torch.testing.assert_close(buffer, expected, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize('mode', ['eval', 'train'])
def test_similarities_and_encoders(recording, mode):
    module, values = recording.module, recording.values
    module.load_state_dict(recording.convert(recording.official))
    module.train(mode == 'train')
    seen = {}
    for index, encoder in enumerate(module.encoders):
        for step, key in ((encoder.transformation, 'stss'), (encoder, 'enc')):

            def keep(_module, _args, out, key=f'{key}{index}'):
                seen[key] = out.detach()

            step.register_forward_hook(keep)
    compared = 0
    grids = recording.grids()
    for video, x in enumerate(recording.videos(values['x'])):
        module(x, grids[video][1])
        for key, out in seen.items():
            suffix = f':video{video}' if len(grids) > 1 else ''
            # Without a mode if the value is the same in both.
            name = f'{mode}:{key}{suffix}'
            golden = values[name if name in values else f'{key}{suffix}']
            if key.startswith('stss'):
                golden = golden.squeeze(4)
            else:
                golden = recording.frames(golden, grids[video])
            assert_near(out, golden, name)
            compared += 1
    assert compared == 2 * len(module.encoders) * len(grids)
