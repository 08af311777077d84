_base_ = [
    'mmaction::recognition/r2plus1d/r2plus1d_r34_8xb8-8x8x1-180e_kinetics400-rgb.py',
    '../_base_/mixing.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='InsertBlocks',
        backbone=_base_.model.backbone,
        blocks=[dict(after='layer2', block=dict(type='SELFYBlock'))],
        input_shape=(1, 3, 8, 224, 224),
    )
)
