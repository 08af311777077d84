_base_ = ['./timesformer_slim.py', './selfy_slim_block.py']

_base_.model.backbone = dict(
    type='InsertBlocks',
    backbone=_base_.model.backbone,
    blocks=[
        dict(
            after='transformer_layers.layers.1',
            block=dict(_base_.pop('block'), scale=1),  # 8x8 tokens
            layout='n (h w t) c',
        )
    ],
    input_shape=(1, 3, 8, 64, 64),
)
