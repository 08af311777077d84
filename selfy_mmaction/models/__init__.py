# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Modules, registered in mmaction2's registries."""

from .backbones import ResNetSELFY, ResNetTSMSELFY
from .extraction import ConvExtraction
from .fusion import ResidualFusion
from .insertion import insert_block, without_inserted_blocks
from .integration import ConvIntegration
from .reduction import ConvReduction
from .restoration import UpsampleRestoration
from .selfy_block import SELFYBlock
from .transformation import STSSTransformation

__all__ = [
    'ConvExtraction',
    'ConvIntegration',
    'ConvReduction',
    'ResNetSELFY',
    'ResNetTSMSELFY',
    'ResidualFusion',
    'SELFYBlock',
    'STSSTransformation',
    'UpsampleRestoration',
    'insert_block',
    'without_inserted_blocks',
]
