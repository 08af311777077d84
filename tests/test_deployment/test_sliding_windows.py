# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Each step equals the offline network on the last T frames."""

import pytest
import torch
from streaming_networks import CLASSES, build, make_clips, offline
from torch.utils.flop_counter import FlopCounterMode

from selfy_mmaction.deployment.sliding_windows import SlidingWindowRecognizer

GAUSSIAN = dict(type='EmbeddedGaussianTransformation')
# T, options of the network, frames that run through the layers after the last block.
CASES = {
    'default': (8, {}, 5),
    'causal': (4, dict(offsets=(-2, -1, 0)), 3),
    'only ahead': (5, dict(offsets=(1, 2)), 3),
    'one frame': (4, dict(offsets=(0,)), 1),
    'as far as the window': (5, {}, 5),
    'farther than the window': (3, {}, 3),
    'two blocks': (8, dict(after=('res3', 'res4'), offsets=(-1, 0, 1)), 5),
    'second block farther': (7, dict(after=('res3', 'res5')), 7),
    'gaussian': (
        6,
        dict(transformation=dict(type='EmbeddedGaussianTransformation')),
        5,
    ),
    'window of one frame': (1, dict(offsets=(-1, 0, 1)), 1),
    'no block': (3, dict(backbone=dict(selfy=None)), 1),
}


@pytest.mark.filterwarnings('ignore:offsets .* reach beyond')
@pytest.mark.parametrize(('length', 'options', 'recomputed'), CASES.values(), ids=CASES)
def test_steps_equal_the_offline_network_on_windows(length, options, recomputed):
    network = build(length, **options).double()
    clips = make_clips(2, length + 4)
    windows = [clips[:, first : first + length] for first in range(5)]
    expected = [offline(network, window.contiguous())[1] for window in windows]
    stream = SlidingWindowRecognizer(network)
    assert stream.delay == length - 1
    sizes = []
    network.cls_head.avg_pool.register_forward_hook(
        lambda module, args, output: sizes.append(len(args[0]))
    )
    state = stream.clean_state(clips[:, 0].shape)
    found = []
    for i, frame in enumerate(clips.unbind(1)):
        out, state = stream.forward_step(frame, state)
        assert (out is None) == (i < length - 1)
        found.append(out)
    torch.testing.assert_close(
        torch.stack(found[length - 1 :], 1), torch.stack(expected, 1)
    )
    assert {*sizes} == {2 * recomputed}
    torch.testing.assert_close(stream(clips[:, :length]), expected[0])


def test_steps_of_several_frames_and_other_lengths():
    network = build(4).double()
    clips = make_clips(1, 9)
    reference = build(6).double()
    stream = SlidingWindowRecognizer(network, num_frames=6)
    out, state = stream.forward_steps(clips[:, :5])
    assert out.shape == (1, 0, CLASSES)
    out, _ = stream.forward_steps(clips[:, 5:], state)
    windows = [clips[:, first : first + 6].contiguous() for first in range(4)]
    expected = [offline(reference, window)[1] for window in windows]
    torch.testing.assert_close(out, torch.stack(expected, 1))


def test_layers_before_the_block_run_on_one_frame():
    network = build(8)
    clips = make_clips(1, 9, torch.float32)
    stream = SlidingWindowRecognizer(network)
    counts = []
    for name in ('layer2', 'layer3'):
        first = network.backbone.get_submodule(name)[0].conv1
        first.register_forward_hook(
            lambda module, args, output: counts.append(len(args[0]))
        )
    _, state = stream.forward_steps(clips[:, :8])
    counts.clear()
    with FlopCounterMode(display=False) as step:
        stream.forward_step(clips[:, 8], state)
    assert counts == [1, 5]
    with FlopCounterMode(display=False) as whole, torch.no_grad():
        network.extract_feat(clips[:, 1:].contiguous(), stage='head')
    assert step.get_total_flops() < whole.get_total_flops() * 5 / 8
    assert state.blocks[0].features.shape == (1, 7, 8, 5, 7)
    assert state.scores.shape == (1, 3, CLASSES)


@pytest.mark.parametrize('num_frames', [0, -1, 2.5])
def test_invalid_length(num_frames):
    with pytest.raises(ValueError, match='num_frames'):
        SlidingWindowRecognizer(build(), num_frames=num_frames)
