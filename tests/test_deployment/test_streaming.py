# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Stepping equals the offline network on the whole sequence."""

import copy

import pytest
import torch
from streaming_networks import CLASSES, build, make_clips, offline
from torch.utils.flop_counter import FlopCounterMode

from selfy_mmaction.deployment.streaming import StreamingRecognizer

GAUSSIAN = dict(type='EmbeddedGaussianTransformation')
# Options of the network, delay, streams.
CASES = {
    'default': ({}, 2, 2),
    'next frame': (dict(offsets=(0, 1)), 1, 1),
    'only the next frame': (dict(offsets=(1,)), 1, 1),
    'only the last frame': (dict(offsets=(-1,)), 0, 2),
    'causal': (dict(offsets=(-2, -1, 0)), 0, 1),
    'one frame': (dict(offsets=(0,)), 0, 1),
    'any order': (dict(offsets=(3, 0, -1)), 3, 1),
    'offsets of 16 frames': (dict(offsets=range(-4, 5)), 4, 1),
    'not the frame itself': (dict(offsets=(2, 3), window=1), 3, 1),
    'after the stem': (dict(after='pool1'), 2, 1),
    'after res5': (dict(after='res5', window=3), 2, 1),
    'two blocks': (dict(after=('res3', 'res4')), 4, 2),
    'three blocks': (dict(after=('res2', 'res3', 'res5'), offsets=(-1, 1)), 3, 1),
    'no block': (dict(backbone=dict(selfy=None)), 0, 1),
    'other level': (dict(backbone=dict(out_indices=(2,))), 2, 1),
    'stride': (dict(scale=0.25), 2, 1),
    'finer grid': (dict(scale=2, window=(3, 5)), 2, 1),
    'kernels along l': (dict(extraction=dict(temporal_kernel=3)), 2, 1),
    'mlp': (dict(extraction=dict(type='MLPExtraction')), 2, 1),
    'soft-argmax': (
        dict(extraction=dict(type='SoftArgmaxExtraction', temperature=0.5)),
        2,
        1,
    ),
    'kernel soft-argmax': (
        dict(extraction=dict(type='KernelSoftArgmaxExtraction', temperature=0.5)),
        2,
        1,
    ),
    'gaussian': (
        dict(transformation=dict(type='EmbeddedGaussianTransformation')),
        2,
        2,
    ),
    'two gaussians': (
        dict(
            after=('res3', 'res4'),
            transformation=GAUSSIAN,
            offsets=(-1, 1, 2),
        ),
        4,
        1,
    ),
    'official': (
        dict(
            integration=dict(type='ReleasedIntegration', channels=(6, 6)),
            restoration=dict(type='TransposedConvRestoration'),
            fusion=dict(relu='after'),
        ),
        2,
        1,
    ),
    'group norm': (dict(norm_cfg=dict(type='GN', num_groups=2)), 2, 1),
    'replacement': (dict(fusion=dict(type='ReplacementFusion')), 2, 1),
}


def record(stream):
    """Collect the features before the head, (N, C, h, w) per step."""
    features = []
    stream.network.cls_head.avg_pool.register_forward_hook(
        lambda module, args, output: features.append(args[0])
    )
    return features


@pytest.mark.filterwarnings('ignore:offsets .* reach beyond')
@pytest.mark.parametrize(('options', 'delay', 'streams'), CASES.values(), ids=CASES)
def test_steps_equal_the_offline_network(options, delay, streams):
    frames = 9
    in_channels = 16 if 'out_indices' in options.get('backbone', {}) else 32
    networks = [build(n, **options).double() for n in (frames, 8)]
    if in_channels == 16:
        for network in networks:
            network.cls_head.fc_cls = torch.nn.Linear(16, CLASSES).double().eval()
            network.cls_head.fc_cls.load_state_dict(
                networks[0].cls_head.fc_cls.state_dict()
            )
    clips = make_clips(streams, frames)
    expected, scores = offline(networks[0], clips)
    stream = StreamingRecognizer(networks[1])
    assert stream.delay == delay
    seen = record(stream)
    state = stream.clean_state(clips[:, 0].shape)
    for i, frame in enumerate(clips.unbind(1)):
        out, state = stream.forward_step(frame, state)
        assert (out is None) == (i < delay)
    found = torch.stack(seen[delay:], 1)
    torch.testing.assert_close(found, expected[:, : frames - delay])
    out, _ = stream.forward_steps(clips, pad_end=True)
    assert out.shape == (streams, frames, CLASSES)
    torch.testing.assert_close(torch.stack(seen[-frames:], 1), expected)
    torch.testing.assert_close(out[:, -1], scores)
    torch.testing.assert_close(stream(clips), scores)


def test_float32_and_a_head_that_averages_features():
    clips = make_clips(1, 10, torch.float32)
    network = build(10, head='TSNHead')
    expected, scores = offline(network, clips)
    stream = StreamingRecognizer(network)
    out, _ = stream.forward_steps(clips, pad_end=True)
    per_frame, _ = StreamingRecognizer(network, 1).forward_steps(clips, pad_end=True)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out[:, -1], scores, rtol=1e-4, atol=1e-4)
    pooled = expected.mean((-2, -1)) @ network.cls_head.fc_cls.weight.T
    pooled = pooled + network.cls_head.fc_cls.bias
    torch.testing.assert_close(per_frame, pooled, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings('ignore:offsets .* reach beyond')
@pytest.mark.parametrize('frames', [1, 2, 3])
def test_sequences_not_longer_than_the_delay(frames):
    options = dict(after=('res3', 'res4'), offsets=(-1, 0, 1))
    network = build(3, **options).double()
    clips = make_clips(2, frames)
    reference = build(frames, **options).double()
    _, scores = offline(reference, clips)
    stream = StreamingRecognizer(network)
    out, state = stream.forward_steps(clips)
    assert out.shape == (2, max(0, frames - 2), CLASSES)
    out, _ = stream.forward_steps(clips, pad_end=True)
    assert out.shape == (2, frames, CLASSES)
    torch.testing.assert_close(out[:, -1], scores)
    # The stream goes on from the state before the padding.
    more, _ = stream.forward_steps(clips, state, pad_end=True)
    twice, _ = stream.forward_steps(torch.cat([clips, clips], 1), pad_end=True)
    torch.testing.assert_close(more[:, -1], twice[:, -1])


@pytest.mark.parametrize('average', [1, 3, 8, 20])
def test_average_of_the_last_frames(average):
    clips = make_clips(2, 12)
    network = build(offsets=(-1, 0, 1)).double()
    per_frame, _ = StreamingRecognizer(network, 1).forward_steps(clips, pad_end=True)
    out, state = StreamingRecognizer(network, average).forward_steps(clips)
    assert state.scores.shape == (2, average - 1, CLASSES)
    for i, found in enumerate(out.unbind(1)):
        window = per_frame[:, max(0, i + 1 - average) : i + 1]
        torch.testing.assert_close(found, window.mean(1))


def test_average_of_all_frames_after_each_frame():
    clips = make_clips(1, 7)
    network = build(offsets=(0, 1)).double()
    per_frame, _ = StreamingRecognizer(network, 1).forward_steps(clips)
    out, _ = StreamingRecognizer(network).forward_steps(clips)
    means = per_frame.cumsum(1) / torch.arange(1, 7).view(1, -1, 1)
    torch.testing.assert_close(out, means)


def test_a_clip_of_any_length_and_streams_in_turns():
    network = build(8).double()
    stream = StreamingRecognizer(network)
    first, second = make_clips(2, 11).split(1)
    expected = [offline(build(11).double(), clip)[1] for clip in (first, second)]
    torch.testing.assert_close(stream(first), expected[0])
    states = [None, None]
    for frames in zip(first.unbind(1), second.unbind(1), strict=True):
        for i, frame in enumerate(frames):
            _, states[i] = stream.forward_step(frame, states[i])
    whole, _ = stream.forward_steps(second)
    torch.testing.assert_close(states[1].scores, whole[:, -1:])
    pieces, state = [], None
    for piece in second.split([4, 1, 6], 1):
        out, state = stream.forward_steps(piece, state)
        pieces.append(out)
    torch.testing.assert_close(torch.cat(pieces, 1), whole)


def test_each_layer_runs_once_per_frame():
    clips = make_clips(1, 8, torch.float32)
    network = build(8, after=('res3', 'res5'))
    stream = StreamingRecognizer(network)
    state = stream.clean_state(clips[:, 0].shape)
    with FlopCounterMode(display=False) as whole:
        offline_scores = network.extract_feat(clips, stage='head')[0]
    for frame in clips.unbind(1):
        with FlopCounterMode(display=False) as step:
            _, state = stream.forward_step(frame, state)
        assert step.get_total_flops() * 8 == whole.get_total_flops()
    assert offline_scores.requires_grad
    assert not state.scores.requires_grad


def test_memory_of_the_state_does_not_grow():
    stream = StreamingRecognizer(build(), average_frames=4)
    clips = make_clips(1, 6, torch.float32)
    state = stream.clean_state(clips[:, 0].shape)
    block = state.blocks[0]
    assert block.maps.shape == (1, 4, 6, 3, 4)
    assert block.features.shape == (1, 2, 8, 5, 7)
    sizes = [tensor.shape for tensor in (*block, state.scores)]
    for frame in clips.unbind(1):
        _, state = stream.forward_step(frame, state)
        assert [each.shape for each in (*state.blocks[0], state.scores)] == sizes
        # Views of longer sequences would keep these alive.
        for tensor in (*state.blocks[0], state.scores):
            one_more = tensor.nbytes // tensor.size(-1 if tensor.dim() == 1 else 1)
            assert tensor.untyped_storage().nbytes() <= tensor.nbytes + one_more


def test_copies_have_their_own_weights():
    network = build().double()
    stream = StreamingRecognizer(network)
    twin = copy.deepcopy(stream)
    clips = make_clips(1, 5)
    before, _ = twin.forward_steps(clips)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    torch.testing.assert_close(twin.forward_steps(clips)[0], before)
    assert stream.forward_steps(clips)[0].abs().max() == 0


def test_the_step_can_be_exported_with_its_state():
    stream = StreamingRecognizer(build(after=('res3', 'res4')), average_frames=3)
    clips = make_clips(1, 8, torch.float32)
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
        if i >= stream.delay:
            found = expected[:, i - stream.delay]
            torch.testing.assert_close(scores, found, rtol=1e-4, atol=1e-5)
