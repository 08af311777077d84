_base_ = './moss-order-1-timesformer_8xb8-1x1x8-15e_sthv1-rgb.py'

__block = dict(type='MOSSBlock', orders=(1, 2, 3))
model = dict(
    backbone=dict(
        blocks=[
            dict(
                after='transformer_layers.layers.5', layout='n (h w t) c', block=__block
            )
        ]
    )
)
