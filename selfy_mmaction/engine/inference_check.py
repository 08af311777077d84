# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Check of clip lengths for mmaction2's inference functions, which have no hooks."""

from typing import Any

from mmaction.models import BaseRecognizer
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope

from .clip_length_check_hook import check_clip_lengths


def check_inference() -> None:
    """Make recognizers check the test pipeline when their ``cfg`` is set.

    ``init_recognizer`` and ``MMAction2Inferencer`` set ``model.cfg`` before they read a
    video. A pipeline that is passed to ``inference_recognizer`` is not checked.
    """
    BaseRecognizer.cfg = property(_get_config, _set_config)


def _get_config(model: BaseRecognizer) -> Config:
    try:
        return vars(model)['cfg']
    except KeyError:
        raise AttributeError(f'{type(model).__name__} has no cfg') from None


def _set_config(model: BaseRecognizer, config: Any) -> None:
    vars(model)['cfg'] = config
    if not isinstance(config, (Config, dict)):
        return
    dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
    pipelines = {
        'test_pipeline': config.get('test_pipeline'),
        'pipeline of test_dataloader': dataset.get('pipeline'),
    }
    scope = config.get('default_scope', 'mmaction')
    for name, pipeline in pipelines.items():
        if pipeline is not None:
            with DefaultScope.overwrite_default_scope(scope):
                steps = Compose(pipeline)
            check_clip_lengths(model, steps, name)
