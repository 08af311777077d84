_base_ = '../selfy-tsn-r18-slim_1xb12-1x1x8-2e_stories-rgb.py'

__selfy_s = dict(
    type='SELFYSBlock',
    window=(5, 5),
    reduced_channels=32,
    extraction=dict(channels=(4, 8, 16, 16)),
)
__stcb = dict(type='STCB', reduced_channels=32, channels=(8, 8, 8, 8))
__block = dict(_delete_=True, type='SequentialBlocks', blocks=[__selfy_s, __stcb])
model = dict(backbone=dict(selfy=dict(block=__block)))
