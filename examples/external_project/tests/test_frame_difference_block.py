# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import pytest
import torch

from my_motion import FrameDifferenceBlock

# Two clips of three frames, with one value per frame.
FRAMES = torch.tensor([1.0, 4, 6, 0, -1, 5]).reshape(6, 1, 1, 1)


def make_block() -> FrameDifferenceBlock:
    """A block with weight 10 and an identity norm (up to its scale)."""
    block = FrameDifferenceBlock(in_channels=1, num_segments=3).eval()
    torch.nn.init.constant_(block.project.weight, 10)
    block.norm.eps = 0
    return block


def test_starts_as_the_identity():
    assert torch.equal(make_block()(FRAMES), FRAMES)


def test_differences_stay_within_clips():
    block = make_block()
    torch.nn.init.ones_(block.norm.weight)
    expected = FRAMES + 10 * torch.tensor([3.0, 2, 0, -1, 6, 0]).reshape(6, 1, 1, 1)
    torch.testing.assert_close(block(FRAMES), expected)
    pairs = FRAMES + 10 * torch.tensor([3.0, 0, -6, 0, 6, 0]).reshape(6, 1, 1, 1)
    torch.testing.assert_close(block(FRAMES, num_segments=2), pairs)


def test_gradient_reaches_the_scale():
    block = make_block()
    block(FRAMES).square().sum().backward()
    assert block.norm.weight.grad.item() != 0


def test_incomplete_clips_are_rejected():
    with pytest.raises(ValueError, match='4'):
        make_block()(FRAMES, num_segments=4)
