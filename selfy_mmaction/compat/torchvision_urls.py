# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmengine imports torchvision to look up where its weights are."""

from importlib.util import find_spec
from pathlib import Path

import mmengine
from mmengine.fileio import load
from mmengine.runner import checkpoint


def close_torchvision_urls() -> bool:
    """Let ``pretrained='torchvision://resnet50'`` work without torchvision.

    mmengine ships the list of addresses itself; torchvision is imported only to add
    the weights of its newer versions.

    Symptom: ``ModuleNotFoundError: No module named 'torchvision'`` from
    ``train.py`` when the weights are initialized.

    Upstream: not reported.

    Delete when: the oldest supported mmengine falls back to its own list where
    torchvision is not installed.
    """
    if find_spec('torchvision') is not None:
        return False
    if checkpoint.get_torchvision_models is _addresses_of_mmengine:
        return False
    checkpoint.get_torchvision_models = _addresses_of_mmengine
    return True


def _addresses_of_mmengine() -> dict[str, str]:
    return load(Path(mmengine.__file__).with_name('hub') / 'torchvision_0.12.json')
