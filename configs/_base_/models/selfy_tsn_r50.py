_base_ = './tsn_r50.py'

# Section 4.1 and supplement A. Widths (reduction 128, extraction 4-16-64-64,
# integration 64) are not in the paper: they are those of the released code, and the
# defaults of the block.
model = dict(
    backbone=dict(
        selfy=dict(
            after='res3',
            block=dict(type='SELFYBlock', offsets=(-2, -1, 0, 1, 2), window=(9, 9)),
        )
    )
)
