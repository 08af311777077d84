# TSM-MobileNetV2 with a custom block.
_base_ = './_base_/tsm-mobilenet-v2_motion.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='InsertBlocks',
        backbone=_base_.model.backbone,
        blocks=[dict(after='layer3', block=dict(type='FrameDifferenceBlock'))],
        input_shape=(8, 3, 64, 64),
    )
)
