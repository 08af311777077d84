# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmaction2's heads do not support bfloat16 scores."""

from collections.abc import Callable
from typing import Any

import torch
from mmaction.models.heads import BaseHead
from mmaction.structures import ActionDataSample
from mmengine.registry import DefaultScope

from . import wrap_once


def apply_bfloat16_scores() -> bool:
    """Let heads compute losses, metrics and predictions from bfloat16 scores.

    Autocast produces bfloat16 on CPUs, and on GPUs with
    ``AmpOptimWrapper(dtype='bfloat16')``; numpy has no such type. Casting the scores
    does not change any result: autocast computes losses in float32 anyway.

    Symptom: ``TypeError: Got unsupported ScalarType BFloat16`` from
    ``BaseHead.loss_by_feat`` and, with ``fp16=True`` in a validation or test
    loop, from the metric.

    Upstream: not reported.

    Delete when: the oldest supported mmaction2 casts the scores before ``.numpy()``.
    """
    if _bfloat16_works():
        return False
    wrap_once(BaseHead, 'loss_by_feat', _with_float32_scores)
    return wrap_once(BaseHead, 'predict_by_feat', _with_float32_scores)


class _IdentityHead(BaseHead):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def _bfloat16_works() -> bool:
    # The caller may have set another package's scope, in which the loss is missing.
    with DefaultScope.overwrite_default_scope('mmaction'):
        head = _IdentityHead(num_classes=2, in_channels=2)
    sample = ActionDataSample().set_gt_label(0)
    try:
        head.loss_by_feat(torch.zeros(1, 2, dtype=torch.bfloat16), [sample])
    except TypeError:
        return False
    return True


def _with_float32_scores(
    method: Callable,
    self: BaseHead,
    cls_scores: torch.Tensor,
    *args: Any,
    **kwargs: Any,
) -> Any:
    if cls_scores.dtype == torch.bfloat16:
        cls_scores = cls_scores.float()
    return method(self, cls_scores, *args, **kwargs)
