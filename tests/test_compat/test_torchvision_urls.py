# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import importlib.util

import pytest
from mmengine.runner import checkpoint

from selfy_mmaction.compat import torchvision_urls
from selfy_mmaction.compat.torchvision_urls import apply_torchvision_urls


def test_needs_torchvision_only_without_the_workaround(symptoms):
    if importlib.util.find_spec('torchvision'):
        pytest.skip('torchvision is installed, so the symptom is absent')
    seen = symptoms['torchvision_urls']
    assert seen['before'].startswith('ModuleNotFoundError')
    assert 'torchvision' in seen['before']
    assert seen['after'].endswith('/resnet50-0676ba61.pth')


def test_scheme_uses_the_list(monkeypatch):
    monkeypatch.setattr(checkpoint, 'load_from_http', lambda url, map_location: url)
    monkeypatch.setattr(
        checkpoint, 'get_torchvision_models', torchvision_urls._urls_of_mmengine
    )
    url = checkpoint.load_from_torchvision('torchvision://resnet18')
    assert url.endswith('/resnet18-f37072fd.pth')


def test_not_applied_if_torchvision_is_installed(monkeypatch):
    lookup = checkpoint.get_torchvision_models
    monkeypatch.setattr(torchvision_urls, 'find_spec', lambda name: object())
    assert apply_torchvision_urls() is False
    assert checkpoint.get_torchvision_models is lookup
