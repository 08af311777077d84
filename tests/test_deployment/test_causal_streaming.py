# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""SELFYNet-TSM with causal shifts: stepping equals the offline network."""

import pytest
import torch
from mmaction.models.backbones.resnet import BasicBlock
from streaming_networks import CLASSES, build, make_clips, offline
from torch.utils.flop_counter import FlopCounterMode

from selfy_mmaction.deployment.sliding_windows import SlidingWindowRecognizer
from selfy_mmaction.deployment.streaming import StreamingRecognizer
from selfy_mmaction.models.backbones.causal_shift import CausalShift


def causal(num_segments=8, backbone=None, **options):
    # Channels are few, so half of them are shifted.
    tsm = dict(type='ResNetTSMSELFY', causal_shift=True, shift_div=2)
    options = dict(dict(offsets=(-2, -1, 0)), **options)
    return build(num_segments, backbone=tsm | (backbone or {}), **options)


# Options of the network, delay.
CASES = {
    'default': ({}, 0),
    'no block': (dict(backbone=dict(selfy=None)), 0),
    'two blocks': (dict(after=('res2', 'res4')), 0),
    'after the stem': (dict(after='pool1'), 0),
    'after res5': (dict(after='res5', window=3), 0),
    'bottlenecks': (dict(backbone=dict(depth=50)), 0),
    'whole residual blocks': (dict(backbone=dict(shift_place='block')), 0),
    'odd fold': (dict(backbone=dict(shift_div=3)), 0),
    'nothing to shift in the first stages': (dict(backbone=dict(shift_div=8)), 0),
    'no norm of the batch': (
        dict(backbone=dict(norm_cfg=dict(type='GN', num_groups=2))),
        0,
    ),
    # The shifts after a block begin when the first delayed frame arrives.
    'block that looks ahead': (dict(offsets=(-1, 0, 1, 2)), 2),
    'two blocks that look ahead': (dict(after=('res2', 'res3'), offsets=(0, 1)), 2),
}


@pytest.mark.filterwarnings('ignore:offsets .* reach beyond')
@pytest.mark.parametrize(('options', 'delay'), CASES.values(), ids=CASES)
def test_every_step_equals_the_offline_network(options, delay):
    clips = make_clips(2, 6)
    stream = StreamingRecognizer(causal(8, **options).double())
    assert stream.delay == delay
    steps, state = [], None
    for frame in clips.unbind(1):
        out, state = stream.forward_step(frame, state)
        steps.append(out)
    assert [out is None for out in steps] == [i < delay for i in range(6)]
    whole, _ = stream.forward_steps(clips, pad_end=True)
    assert whole.shape == (2, 6, CLASSES)
    lengths = range(1, 7) if delay == 0 else [6]
    for length in lengths:
        prefix = clips[:, :length].contiguous()
        _, scores = offline(causal(length, **options).double(), prefix)
        torch.testing.assert_close(stream(prefix), scores)
        torch.testing.assert_close(whole[:, length - 1], scores)
        if delay == 0:
            torch.testing.assert_close(steps[length - 1], scores)


def test_streams_in_turns_and_in_pieces():
    stream = StreamingRecognizer(causal().double())
    first, second = make_clips(2, 7).split(1)
    states = [None, None]
    for frames in zip(first.unbind(1), second.unbind(1), strict=True):
        for i, frame in enumerate(frames):
            _, states[i] = stream.forward_step(frame, states[i])
    both, _ = stream.forward_steps(torch.cat([first, second]))
    for i, state in enumerate(states):
        torch.testing.assert_close(state.scores[:, 0], both[i : i + 1, -1])
    pieces, state = [], None
    for piece in second.split([4, 1, 2], 1):
        out, state = stream.forward_steps(piece, state)
        pieces.append(out)
    torch.testing.assert_close(torch.cat(pieces, 1), both[1:])


def test_each_layer_runs_once_per_frame():
    clips = make_clips(1, 8, torch.float32)
    network = causal(8, after=('res3', 'res5'))
    stream = StreamingRecognizer(network)
    state = stream.clean_state(clips[:, 0].shape)
    with FlopCounterMode(display=False) as whole:
        network.extract_feat(clips, stage='head')
    for frame in clips.unbind(1):
        with FlopCounterMode(display=False) as step:
            _, state = stream.forward_step(frame, state)
        assert step.get_total_flops() * 8 == whole.get_total_flops()


def test_state():
    stream = StreamingRecognizer(causal(), average_frames=4)
    clips = make_clips(2, 4, torch.float32)
    state = stream.clean_state(clips[:, 0].shape)
    # 40x56 becomes 10x14 before res2; half of 4 to 32 channels, two shifts per stage.
    sizes = [(2, 10, 14)] * 3 + [(4, 5, 7)] * 2 + [(8, 3, 4)] * 2 + [(16, 2, 2)]
    assert [(2, *size) for size in sizes] == [shift.shape for shift in state.shifts]
    assert all(not shift.any() for shift in state.shifts)
    for frame in clips.unbind(1):
        _, state = stream.forward_step(frame, state)
        assert [(2, *size) for size in sizes] == [shift.shape for shift in state.shifts]
        # Views of all channels would keep these alive.
        for shift in state.shifts:
            assert shift.untyped_storage().nbytes() == shift.nbytes
    wrong = state._replace(shifts=state.shifts[1:])
    with pytest.raises(ValueError, match='give the state of the last step'):
        stream.forward_step(clips[:, 0], wrong)


def test_the_step_can_be_exported_with_its_state():
    stream = StreamingRecognizer(causal(), average_frames=3)
    clips = make_clips(1, 5, torch.float32)
    expected, _ = stream.forward_steps(clips)
    state = stream.clean_state(clips[:, 0].shape)

    class Step(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.stream = stream
            self.network = stream.network

        def forward(self, frame, state):
            return self.stream.advance(frame, state)

    exported = torch.export.export(Step().eval(), (clips[:, 0], state)).module()
    for i, frame in enumerate(clips.unbind(1)):
        scores, state = exported(frame, state)
        torch.testing.assert_close(scores, expected[:, i], rtol=1e-4, atol=1e-5)


def two_sided():
    return causal(backbone=dict(causal_shift=False))


def elsewhere():
    network = build()
    block = network.backbone.layer1[0]
    block.conv2.conv = CausalShift(block.conv2.conv, 8).eval()
    return network


def with_hook():
    network = causal()
    hooked = network.backbone.layer3[1].conv1.conv
    hooked.register_forward_pre_hook(lambda *_: None)
    return network


class Mine(BasicBlock):
    pass


def own_residual_block():
    network = causal()
    network.backbone.layer2[1].__class__ = Mine
    return network


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (own_residual_block, r'layer2\.1 \(Mine\) cannot stream: it is not known what'),
        (
            two_sided,
            'ResNetTSMSELFY cannot stream: each .* next frame.*'
            r'causal_shift=True, configs/selfy/selfy-tsm-causal-\*',
        ),
        (elsewhere, r'layer1\.0\.conv2\.conv \(CausalShift\) cannot stream: it is not'),
        (with_hook, r"layer 'layer3\.1\.conv1\.conv' with a forward hook cannot"),
    ],
    ids=['own residual block', 'two-sided', 'elsewhere', 'hook'],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        StreamingRecognizer(make())


def test_sliding_windows_are_refused():
    message = 'sliding windows: each of its 8 temporal shifts .* StreamingRecognizer'
    with pytest.raises(ValueError, match=message):
        SlidingWindowRecognizer(causal())
