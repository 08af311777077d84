# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import pytest
import torch
from mmaction.models.heads import TSNHead
from mmaction.structures import ActionDataSample
from mmengine.registry import DefaultScope

from selfy_mmaction.compat.bfloat16_scores import apply_bfloat16_scores


def test_head_fails_without_and_works_with_the_workaround(symptoms):
    seen = symptoms['bfloat16_scores']
    assert seen['before'] == 'TypeError: Got unsupported ScalarType BFloat16'
    loss, accuracy, dtype = seen['after']
    assert loss == pytest.approx(torch.log1p(torch.tensor(-1.0).exp()).item())
    assert accuracy == 1.0
    assert dtype == 'torch.float32'


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
def test_other_dtypes_are_unchanged(dtype):
    head = TSNHead(num_classes=2, in_channels=2)
    scores = torch.tensor([[0.0, 1.0]], dtype=dtype)
    sample = ActionDataSample().set_gt_label(0)
    assert head.predict_by_feat(scores, [sample])[0].pred_score.dtype == dtype


def test_gradient_passes_through_the_cast():
    head = TSNHead(num_classes=2, in_channels=2)
    scores = torch.zeros(1, 2, dtype=torch.bfloat16, requires_grad=True)
    sample = ActionDataSample().set_gt_label(0)
    head.loss_by_feat(scores, [sample])['loss_cls'].backward()
    assert scores.grad.tolist() == [[-0.5, 0.5]]


def test_wrapped_once():
    method = TSNHead.loss_by_feat
    assert apply_bfloat16_scores() is False
    assert TSNHead.loss_by_feat is method
    assert not hasattr(method.__wrapped__, '__wrapped__')


def test_scope_of_another_package_does_not_matter():
    with DefaultScope.overwrite_default_scope('mmengine'):
        assert apply_bfloat16_scores() is False
