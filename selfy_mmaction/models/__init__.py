# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Models and modules, registered in mmaction2's registries."""

from .backbones import ResNetSELFY, ResNetTSMSELFY
from .backbones.released_resnet_selfy import ReleasedResNetTSMSELFY
from .comparators.atm import (
    ATMDifferenceBlock,
    ATMSimilarityBlock,
    DifferenceTransformation,
    IdentityExtraction,
)
from .comparators.combinations import ParallelBlocks, SequentialBlocks
from .comparators.local_self_attention import LocalSelfAttentionBlock
from .comparators.motion_squeeze import DepthwiseIntegration, MotionSqueezeBlock
from .comparators.multi_head_self_attention import MultiHeadSelfAttentionBlock
from .comparators.non_local import NonLocalBlock
from .comparators.stcb import STCB, SELFYSBlock
from .heads.class_file_head import ClassFileHead
from .heads.xavier_tsm_head import XavierTSMHead
from .insertion.host import HostOfBlocks, without_inserted_blocks
from .insertion.insert_blocks import build_with_blocks, insert_block, insert_blocks
from .insertion.layout import FeatureLayout
from .moss.block import HigherOrderSTSS, MOSSBlock
from .moss.encoder import STSSEncoder
from .moss.motion_module import MotionModule
from .neck import SELFYNeck
from .selfy.block import SELFYBlock
from .selfy.extraction import ConvExtraction, MLPExtraction
from .selfy.fusion import ReplacementFusion, ResidualFusion
from .selfy.integration import (
    ConvIntegration,
    FCIntegration,
    LiteIntegration,
    MLPIntegration,
    ReleasedIntegration,
)
from .selfy.reduction import ConvReduction, LayerNormReduction
from .selfy.restoration import (
    ExpansionRestoration,
    TransposedConvRestoration,
    UpsampleRestoration,
)
from .selfy.soft_argmax import KernelSoftArgmaxExtraction, SoftArgmaxExtraction
from .selfy.transformation import (
    ConvTransformation,
    EmbeddedGaussianTransformation,
    STSSTransformation,
)

__all__ = [
    'ATMDifferenceBlock',
    'ATMSimilarityBlock',
    'ClassFileHead',
    'ConvExtraction',
    'ConvIntegration',
    'ConvReduction',
    'ConvTransformation',
    'DepthwiseIntegration',
    'DifferenceTransformation',
    'EmbeddedGaussianTransformation',
    'ExpansionRestoration',
    'FCIntegration',
    'FeatureLayout',
    'HostOfBlocks',
    'IdentityExtraction',
    'HigherOrderSTSS',
    'KernelSoftArgmaxExtraction',
    'LayerNormReduction',
    'LiteIntegration',
    'LocalSelfAttentionBlock',
    'MLPExtraction',
    'MLPIntegration',
    'MOSSBlock',
    'MotionModule',
    'MotionSqueezeBlock',
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
    'STSSEncoder',
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
