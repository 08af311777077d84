_base_ = './moss-order-1-timesformer_8xb8-1x1x8-15e_sthv1-rgb.py'

# Before the eighth of twelve layers, as in ATM.
__blocks = [dict(type='ATMSimilarityBlock'), dict(type='ATMDifferenceBlock')]
# The ReLU is ATM's, although it drops the negative part of the tokens.
__block = dict(type='SequentialBlocks', blocks=__blocks, fusion=dict(relu='after'))
model = dict(
    backbone=dict(
        blocks=[
            dict(
                after='transformer_layers.layers.6', layout='n (h w t) c', block=__block
            )
        ]
    )
)
