# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The one-sided shift: features move only from a frame to the next one."""

import pytest
import torch
from mmaction.models.backbones.resnet_tsm import TemporalShift
from mmaction.registry import MODELS
from small_blocks import SMALL_BLOCK
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from selfy_mmaction.models.backbones.causal_shift import CausalShift

CAUSAL_BLOCK = dict(SMALL_BLOCK, offsets=(-2, -1, 0))


def build(type='ResNetTSMSELFY', **kwargs) -> nn.Module:
    cfg = dict(type=type, depth=18, num_segments=4, base_channels=8)
    return MODELS.build({**cfg, **kwargs})


def with_loops(x, frames, shift_div):
    """TSM: "replace the first 1/8 of the current feature maps" with the last ones."""
    out = x.clone()
    for clip in range(len(x) // frames):
        for t in range(frames):
            for channel in range(x.size(1) // shift_div):
                frame = clip * frames + t
                out[frame, channel] = x[frame - 1, channel] if t > 0 else 0
    return out


@pytest.mark.parametrize(
    ('clips', 'frames', 'channels', 'shift_div'),
    [(2, 4, 16, 8), (1, 3, 19, 8), (3, 1, 8, 8), (2, 2, 7, 8), (1, 5, 6, 1)],
)
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_equals_loops(clips, frames, channels, shift_div, dtype):
    x = torch.randn(clips * frames, channels, 3, 5).to(dtype)
    expected = with_loops(x, frames, shift_div)
    for same in (
        x,
        x.to(memory_format=torch.channels_last),
        x.transpose(-1, -2).contiguous().transpose(-1, -2),
    ):
        before = same.clone()
        out = CausalShift.shift(same, frames, shift_div)
        assert torch.equal(out, expected)
        assert torch.equal(same, before)
    layer = CausalShift(nn.Identity(), frames, shift_div)
    assert torch.equal(layer(x), expected)


def test_is_the_host_s_shift_without_its_future_half():
    x = torch.randn(8, 16, 3, 3)
    # The host takes the first eighth from the next frame, the second from the last one.
    host = TemporalShift.shift(x.roll(2, dims=1), 4, 8)
    assert torch.equal(CausalShift.shift(x, 4, 8)[:, :2], host[:, 2:4])


def test_gradient():
    x = torch.randn(6, 5, 1, 2, dtype=torch.double, requires_grad=True)
    torch.autograd.gradcheck(lambda x: CausalShift.shift(x, 3, 2), x)


def test_a_batch_that_is_not_whole_clips_is_refused():
    with pytest.raises(RuntimeError, match='unflatten'):
        CausalShift.shift(torch.zeros(7, 8, 1, 1), 4, 8)


def test_weights_and_multiply_adds_are_those_of_the_two_sided_shift():
    selfy = dict(after='res3', block=CAUSAL_BLOCK)
    counts, shapes = [], []
    with torch.device('meta'):
        for causal in (False, True):
            backbone = build(selfy=selfy, causal_shift=causal)
            shapes.append({k: v.shape for k, v in backbone.state_dict().items()})
            with FlopCounterMode(display=False) as counter:
                backbone(torch.empty(4, 3, 64, 64))
            counts.append(counter.get_total_flops())
    assert shapes[0] == shapes[1]
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize(
    ('kwargs', 'number'),
    [
        (dict(depth=18), 8),  # one per residual block
        (dict(depth=50), 16),
        (dict(depth=101), 2 + 2 + 12 + 2),  # every second one, as in the host
        (dict(depth=101, type='ReleasedResNetTSMSELFY'), 33),
        (dict(depth=18, shift_place='block'), 8),
    ],
)
def test_all_shifts_become_causal(kwargs, number):
    with torch.device('meta'):
        backbone = build(**kwargs, num_segments=6, shift_div=4, causal_shift=True)
    shifts = [m for m in backbone.modules() if isinstance(m, TemporalShift)]
    assert {(type(s), s.num_segments, s.shift_div) for s in shifts} == {
        (CausalShift, 6, 4)
    }
    assert len(shifts) == number


@pytest.mark.parametrize('place', ['blockres', 'block'])
def test_no_frame_sees_a_later_one(place):
    torch.manual_seed(0)
    selfy = dict(after=['res2', 'res3'], block=CAUSAL_BLOCK)
    backbone = build(selfy=selfy, shift_place=place, causal_shift=True).eval()
    x = torch.randn(4, 3, 64, 64)
    changed = x.clone()
    changed[2] += 1
    with torch.no_grad():
        differs = (backbone(x) != backbone(changed)).flatten(1).any(1)
    assert differs.tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(causal_shift='past'), "causal_shift must be .*but got 'past'"),
        (dict(is_shift=False), 'needs is_shift=True, but got False'),
        (dict(temporal_pool=True), 'needs temporal_pool=False, but got True'),
        (
            dict(
                depth=50,
                non_local=((0,), (0,), (1,), (0,)),
                non_local_cfg=dict(mode='gaussian'),
            ),
            r"needs non_local_cfg=\{\}, but got \{'mode'",
        ),
    ],
)
def test_bad_options(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(**dict(dict(causal_shift=True, depth=18), **kwargs))
