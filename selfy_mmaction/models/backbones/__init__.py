# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Backbones with SELFY blocks (Section 4.1)."""

from .resnet_selfy import ResNetSELFY, ResNetTSMSELFY

__all__ = ['ResNetSELFY', 'ResNetTSMSELFY']
