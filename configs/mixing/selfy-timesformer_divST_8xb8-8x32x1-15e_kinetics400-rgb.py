_base_ = [
    'mmaction::recognition/timesformer/timesformer_divST_8xb8-8x32x1-15e_kinetics400-rgb.py',
    '../_base_/mixing.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='InsertBlocks',
        backbone=_base_.model.backbone,
        blocks=[dict(after='transformer_layers.layers.5', layout='n (h w t) c')],
        input_shape=(1, 3, 8, 224, 224),
    )
)
