# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmaction2 rejects mmcv 2.2 and later by version number."""

import sys
from importlib import import_module
from unittest.mock import patch

import mmcv
import numpy as np
import torch
from mmengine.utils import digit_version

_NEWEST_ACCEPTED = '2.1.0'


def apply_mmcv_version() -> bool:
    """Make ``import mmaction`` accept newer releases of mmcv 2 that pass a test.

    onedl-mmcv, the maintained fork, starts at 2.3. mmaction2's own tools import
    mmaction before they read a config, so run them with
    ``python -m selfy_mmaction.run`` if this mmcv is installed.

    Symptom: ``AssertionError: MMCV==2.3.6 is used but incompatible. Please install
    mmcv>=2.0.0rc4, <2.2.0.`` from ``import mmaction``.

    Upstream: mmaction2 issue 2852.

    Delete when: the oldest supported mmaction2 accepts these versions.

    Raises:
        ImportError: If mmcv fails the test of what mmaction2 uses.
    """
    version = digit_version(mmcv.__version__)
    if 'mmaction' in sys.modules or not (
        digit_version('2.2.0') <= version < digit_version('3.0.0')
    ):
        return False
    _check_mmcv()
    with patch.object(mmcv, '__version__', _NEWEST_ACCEPTED):
        import_module('mmaction')
    return True


def _check_mmcv() -> None:
    """Check the functions that mmaction2 uses against numpy and torch."""
    try:
        from mmcv.cnn import ConvModule
        from mmcv.transforms import BaseTransform, KeyMapper  # noqa: F401

        ramp = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
        module = ConvModule(
            3, 2, 3, padding=1, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU')
        )
        feats = torch.linspace(-1, 1, 3 * 4 * 5).reshape(1, 3, 4, 5)
        expected = torch.nn.functional.conv2d(feats, module.conv.weight, padding=1)
        expected = torch.nn.functional.batch_norm(
            expected, None, None, module.bn.weight, module.bn.bias, training=True
        ).relu()
        same = {
            'ConvModule': torch.allclose(module(feats), expected, atol=1e-5),
            'imflip_': np.array_equal(mmcv.imflip_(ramp.copy()), ramp[:, ::-1]),
            'imresize': np.array_equal(
                mmcv.imresize(ramp, (8, 4), interpolation='nearest'),
                ramp.repeat(2, axis=0).repeat(2, axis=1),
            ),
            'rescale_size': mmcv.rescale_size((340, 256), (np.inf, 128)) == (170, 128),
        }
    except (ImportError, AttributeError, TypeError) as error:
        raise ImportError(_message(str(error))) from error
    wrong = [name for name, right in same.items() if not right]
    if wrong:
        raise ImportError(_message(f'wrong results from {", ".join(wrong)}'))


def _message(reason: str) -> str:
    return (
        f'mmcv {mmcv.__version__} is incompatible with mmaction2: {reason}. '
        'Install a compatible version: pip install mmcv-lite==2.1.0'
    )
