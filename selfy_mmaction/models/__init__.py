# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Modules, registered in mmaction2's registries."""

from .attention import (
    LocalSelfAttentionBlock,
    MultiHeadSelfAttentionBlock,
    NonLocalBlock,
)
from .backbones import ResNetSELFY, ResNetTSMSELFY
from .backbones.released_resnet_selfy import ReleasedResNetTSMSELFY
from .combinations import ParallelBlocks, SequentialBlocks
from .extraction import (
    ConvExtraction,
    KernelSoftArgmaxExtraction,
    MLPExtraction,
    SoftArgmaxExtraction,
)
from .feature_layout import FeatureLayout
from .fusion import ReplacementFusion, ResidualFusion
from .host_of_blocks import HostOfBlocks, without_inserted_blocks
from .insertion import build_with_blocks, insert_block, insert_blocks
from .integration import (
    ConvIntegration,
    FCIntegration,
    MLPIntegration,
    ReleasedIntegration,
)
from .neck import SELFYNeck
from .reduction import ConvReduction
from .restoration import TransposedConvRestoration, UpsampleRestoration
from .selfy_block import SELFYBlock
from .stcb import STCB, SELFYSBlock
from .transformation import EmbeddedGaussianTransformation, STSSTransformation
from .xavier_tsm_head import XavierTSMHead

__all__ = [
    'ConvExtraction',
    'ConvIntegration',
    'ConvReduction',
    'EmbeddedGaussianTransformation',
    'FCIntegration',
    'FeatureLayout',
    'HostOfBlocks',
    'KernelSoftArgmaxExtraction',
    'LocalSelfAttentionBlock',
    'MLPExtraction',
    'MLPIntegration',
    'MultiHeadSelfAttentionBlock',
    'NonLocalBlock',
    'ParallelBlocks',
    'ReleasedIntegration',
    'ReleasedResNetTSMSELFY',
    'ReplacementFusion',
    'ResNetSELFY',
    'ResNetTSMSELFY',
    'ResidualFusion',
    'SELFYBlock',
    'SELFYNeck',
    'SELFYSBlock',
    'STCB',
    'STSSTransformation',
    'SequentialBlocks',
    'SoftArgmaxExtraction',
    'TransposedConvRestoration',
    'UpsampleRestoration',
    'XavierTSMHead',
    'build_with_blocks',
    'insert_block',
    'insert_blocks',
    'without_inserted_blocks',
]
