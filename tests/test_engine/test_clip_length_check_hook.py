# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from types import SimpleNamespace

import pytest
from mmaction.registry import HOOKS, TRANSFORMS
from mmengine.dataset import Compose


def make_runner(num_segments, **sample):
    steps = [TRANSFORMS.build(dict(type='SampleFrames', **sample))]
    loader = SimpleNamespace(dataset=SimpleNamespace(pipeline=Compose(steps)))
    backbone = SimpleNamespace(num_segments=num_segments)
    return SimpleNamespace(
        model=SimpleNamespace(backbone=backbone),
        train_dataloader=loader,
        val_dataloader=loader,
        test_dataloader=loader,
        val_loop=object(),
    )


@pytest.mark.parametrize('when', ['before_train', 'before_val', 'before_test'])
def test_other_clip_length_is_refused(when):
    hook = HOOKS.build(dict(type='ClipLengthCheckHook'))
    # 12 clips of 8 frames divide into clips of 16 frames: nothing else would fail.
    runner = make_runner(num_segments=16, clip_len=1, num_clips=8)
    with pytest.raises(ValueError, match='samples 8 frames .* num_segments=16'):
        getattr(hook, when)(runner)


@pytest.mark.parametrize(
    'sample', [dict(clip_len=1, num_clips=8), dict(clip_len=8, num_clips=1)]
)
def test_same_clip_length_passes(sample):
    hook = HOOKS.build(dict(type='ClipLengthCheckHook'))
    assert hook.before_train(make_runner(num_segments=8, **sample)) is None


def test_a_backbone_without_clips_is_left_alone():
    hook = HOOKS.build(dict(type='ClipLengthCheckHook'))
    assert hook.before_train(make_runner(None, clip_len=1, num_clips=8)) is None
