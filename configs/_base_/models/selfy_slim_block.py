# For matching on 8x8 positions, for which the paper's window of 9x9 would be mostly
# padding: window and strides are smaller together.
block = dict(
    type='SELFYBlock',
    offsets=(-2, -1, 0, 1, 2),
    window=(5, 5),
    reduced_channels=32,
    extraction=dict(channels=(4, 8, 16, 16)),
    integration=dict(channels=(16, 16, 16, 16)),
)
