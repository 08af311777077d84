_base_ = './selfy_tsn_r50.py'

# The official last layer starts Xavier uniform, not from N(0, init_std).
_base_.model.cls_head.pop('init_std')

# The released code's form of the block, where it differs from the paper's.
model = dict(
    backbone=dict(
        type='ResNetTSMSELFY',
        selfy=dict(
            block=dict(
                # Three 3x3 convolutions per offset, then one over all offsets to 64
                # channels; the paper: four, then 1x1x1 to C (Eq. 9).
                integration=dict(type='ReleasedIntegration'),
                # 1x1 transposed convolution to C, which leaves three of four positions
                # to the norm's bias; the paper: "upsample".
                restoration=dict(type='TransposedConvRestoration'),
                # ReLU(V + x); the paper: V + ReLU(x) (Eq. 9).
                fusion=dict(type='ResidualFusion', relu='after'),
                # Training starts from the backbone alone; the paper: not said.
                zero_init_last_norm=True,
            )
        ),
    ),
    cls_head=dict(type='XavierTSMHead'),
)
