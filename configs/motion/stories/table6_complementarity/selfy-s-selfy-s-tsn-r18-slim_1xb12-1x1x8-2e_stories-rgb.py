_base_ = '../selfy-tsn-r18-slim_1xb12-1x1x8-2e_stories-rgb.py'

__selfy_s = dict(
    type='SELFYSBlock',
    window=(5, 5),
    reduced_channels=32,
    extraction=dict(channels=(4, 8, 16, 16)),
)
__block = dict(_delete_=True, type='SequentialBlocks', blocks=[__selfy_s, __selfy_s])
model = dict(backbone=dict(selfy=dict(block=__block)))
