# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmengine imports torchvision to look up the URLs of its weights."""

from importlib.util import find_spec
from pathlib import Path

import mmengine
from mmengine.fileio import load
from mmengine.runner import checkpoint


def apply_torchvision_urls() -> bool:
    """Make ``pretrained='torchvision://resnet50'`` work without torchvision.

    mmengine ships its own list of URLs; it imports torchvision only to add the weights
    of newer versions.

    Symptom: ``ModuleNotFoundError: No module named 'torchvision'`` from
    ``train.py`` when the weights are initialized.

    Upstream: not reported.

    Delete when: the oldest supported mmengine falls back to its own list if torchvision
    is not installed.
    """
    if find_spec('torchvision') is not None:
        return False
    if checkpoint.get_torchvision_models is _urls_of_mmengine:
        return False
    checkpoint.get_torchvision_models = _urls_of_mmengine
    return True


def _urls_of_mmengine() -> dict[str, str]:
    return load(Path(mmengine.__file__).with_name('hub') / 'torchvision_0.12.json')
