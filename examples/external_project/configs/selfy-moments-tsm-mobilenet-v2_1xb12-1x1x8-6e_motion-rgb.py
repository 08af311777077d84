# The same extraction in a SELFY block in a network that knows nothing of it.
_base_ = './_base_/tsm-mobilenet-v2_motion.py'

# layer3 has 8x8 positions at 64x64 pixels: too few for the default window of 9x9.
# mmengine drops names with two leading underscores.
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
