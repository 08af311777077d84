_base_ = [
    'mmaction::recognition/swin/swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb.py',
    '../_base_/mixing.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='InsertBlocks',
        backbone=_base_.model.backbone,
        blocks=[dict(after='layers.1', layout='n t h w c')],
        input_shape=(1, 3, 32, 224, 224),
    )
)
# The recipe trains the pretrained backbone at a tenth of the learning rate. The block
# is not pretrained and learns at the rate of the head.
optim_wrapper = dict(paramwise_cfg=dict(inserted_blocks=dict(lr_mult=10)))
