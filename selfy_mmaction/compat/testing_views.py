# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmaction2's 2D recognizer calls ``get`` on its backbone, which is not a dict."""

from collections.abc import Callable
from typing import Any

import torch
from mmaction.models.recognizers import Recognizer2D
from mmengine.registry import DefaultScope

from . import wrap_once


def apply_testing_views() -> bool:
    """Make ``test_cfg=dict(max_testing_views=...)`` work with 2D recognizers.

    The views of a video are tested in chunks of that many frames, which limits memory
    for many clips and crops.

    Symptom: ``AttributeError: 'ResNet' object has no attribute 'get'`` from
    ``Recognizer2D.extract_feat`` during testing.

    Upstream: not reported.

    Delete when: the oldest supported mmaction2 reads ``num_segments`` with
    ``getattr``.
    """
    if _testing_views_work():
        return False
    return wrap_once(Recognizer2D, 'extract_feat', _with_get)


def _testing_views_work() -> bool:
    # The caller may have set another package's scope.
    with DefaultScope.overwrite_default_scope('mmaction'):
        recognizer = Recognizer2D(
            backbone=dict(type=torch.nn.Identity), test_cfg=dict(max_testing_views=1)
        )
    try:
        recognizer.extract_feat(torch.zeros(1, 1, 3, 1, 1), test_mode=True)
    except AttributeError:
        return False
    return True


def _with_get(method: Callable, self: Recognizer2D, *args: Any, **kwargs: Any) -> Any:
    if not (self.test_cfg or {}).get('max_testing_views'):
        return method(self, *args, **kwargs)
    backbone = self.backbone
    # For this call only, so that it does not end up in copies or pickles of the model.
    backbone.get = lambda name: getattr(backbone, name, None)
    try:
        return method(self, *args, **kwargs)
    finally:
        del backbone.get
