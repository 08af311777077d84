# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.models.recognizers import Recognizer2D
from mmaction.registry import MODELS
from mmengine.registry import DefaultScope

from selfy_mmaction.compat.testing_views import apply_testing_views


def build(**test_cfg) -> Recognizer2D:
    torch.manual_seed(0)
    backbone = dict(
        type='ResNetTSM', depth=18, num_segments=2, pretrained=None, pretrained2d=False
    )
    return MODELS.build(
        dict(type='Recognizer2D', backbone=backbone, test_cfg=test_cfg)
    ).eval()


def test_recognizer_fails_without_and_works_with_the_workaround(symptoms):
    seen = symptoms['testing_views']
    assert seen['before'] == "AttributeError: 'ResNet' object has no attribute 'get'"
    assert seen['after'] == [6, 512, 1, 1]


@torch.no_grad()
def test_chunks_equal_one_pass():
    clips = torch.randn(1, 6, 3, 32, 32)
    expected, _ = build().extract_feat(clips, test_mode=True)
    recognizer = build(max_testing_views=4)
    out, _ = recognizer.extract_feat(clips, test_mode=True)
    torch.testing.assert_close(out, expected)
    assert not hasattr(recognizer.backbone, 'get')


def test_host_still_rejects_chunks_that_split_clips():
    with pytest.raises(AssertionError, match='multiple of num_segments'):
        build(max_testing_views=3).extract_feat(
            torch.randn(1, 6, 3, 32, 32), test_mode=True
        )


def test_wrapped_once():
    method = Recognizer2D.extract_feat
    assert apply_testing_views() is False
    assert Recognizer2D.extract_feat is method
    assert not hasattr(method.__wrapped__, '__wrapped__')


def test_scope_of_another_package_does_not_matter():
    with DefaultScope.overwrite_default_scope('mmengine'):
        assert apply_testing_views() is False
