_base_ = './timesformer_slim.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='InsertBlocks',
        backbone=_base_.model.backbone,
        blocks=[
            dict(
                after='transformer_layers.layers.1',
                layout='n (h w t) c',
                # The block matches on 8x8 positions, where the paper's window of 9x9
                # would be mostly padding, so window and widths are smaller.
                block=dict(
                    type='SELFYBlock',
                    offsets=(-2, -1, 0, 1, 2),
                    window=(5, 5),
                    reduced_channels=32,
                    extraction=dict(channels=(4, 8, 16, 16)),
                    integration=dict(channels=(16, 16, 16, 16)),
                    scale=1,  # one position per token
                ),
            )
        ],
        input_shape=(1, 3, 8, 64, 64),
    )
)
