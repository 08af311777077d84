_base_ = [
    'mmaction::recognition/tsm/tsm_imagenet-pretrained-mobilenetv2_8xb16-1x1x8-100e_kinetics400-rgb.py',
    '../_base_/mixing.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='InsertBlocks',
        backbone=_base_.model.backbone,
        blocks=[dict(after='layer3', block=dict(type='SELFYBlock'))],
    )
)
