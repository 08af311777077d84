_base_ = ['./slowonly_r18_slim.py', './selfy_slim_block.py']

_base_.model.backbone = dict(
    type='InsertBlocks',
    backbone=_base_.model.backbone,
    # 16x16 positions, matched on 8x8.
    blocks=[dict(after='layer2', block=dict(_base_.pop('block'), scale=0.5))],
    input_shape=(1, 3, 8, 64, 64),
)
