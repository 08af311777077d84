# TSM-MobileNetV2 with a SELFY block that uses the custom extraction.
_base_ = './_base_/tsm-mobilenet-v2_motion.py'

# With 64x64 pixels, layer3 has 8x8 positions: too few for the default 9x9 window.
# mmengine drops variables with two leading underscores.
__selfy = dict(
    type='SELFYBlock', scale=1, window=(5, 5), extraction=dict(type='MomentExtraction')
)
model = dict(
    backbone=dict(
        _delete_=True,
        type='InsertBlocks',
        backbone=_base_.model.backbone,
        blocks=[dict(after='layer3', block=__selfy)],
        input_shape=(8, 3, 64, 64),
    )
)
