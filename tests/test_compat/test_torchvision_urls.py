# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
import importlib.util

import pytest
from mmengine.runner import checkpoint

from selfy_mmaction.compat import torchvision_urls
from selfy_mmaction.compat.torchvision_urls import close_torchvision_urls


def test_needs_torchvision_before_and_not_after(shown_gaps):
    if importlib.util.find_spec('torchvision'):
        pytest.skip('torchvision is installed, so the gap is not there')
    seen = shown_gaps['torchvision_urls']
    assert seen['before'].startswith('ModuleNotFoundError')
    assert 'torchvision' in seen['before']
    assert seen['after'].endswith('/resnet50-0676ba61.pth')


def test_scheme_uses_the_list(monkeypatch):
    monkeypatch.setattr(
        checkpoint, 'load_from_http', lambda address, map_location: address
    )
    monkeypatch.setattr(
        checkpoint, 'get_torchvision_models', torchvision_urls._addresses_of_mmengine
    )
    address = checkpoint.load_from_torchvision('torchvision://resnet18')
    assert address.endswith('/resnet18-f37072fd.pth')


def test_nothing_is_done_where_torchvision_is(monkeypatch):
    lookup = checkpoint.get_torchvision_models
    monkeypatch.setattr(torchvision_urls, 'find_spec', lambda name: object())
    assert close_torchvision_urls() is False
    assert checkpoint.get_torchvision_models is lookup
