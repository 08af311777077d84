_base_ = './tsn_r18_slim.py'

model = dict(
    backbone=dict(
        selfy=dict(
            after='res3',
            # The block matches on 8x8 positions, where the paper's window of 9x9 would
            # be mostly padding, so window and widths are smaller.
            block=dict(
                type='SELFYBlock',
                offsets=(-2, -1, 0, 1, 2),
                window=(5, 5),
                reduced_channels=32,
                extraction=dict(channels=(4, 8, 16, 16)),
                integration=dict(channels=(16, 16, 16, 16)),
            ),
        )
    )
)
