_base_ = [
    'mmaction::recognition/tpn/tpn-tsm_imagenet-pretrained-r50_8xb8-1x1x8-150e_sthv1-rgb.py',
    '../_base_/mixing.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='InsertBlocks',
        backbone=_base_.model.backbone,
        blocks=[dict(after='layer2', block=dict(type='SELFYBlock'))],
    )
)
