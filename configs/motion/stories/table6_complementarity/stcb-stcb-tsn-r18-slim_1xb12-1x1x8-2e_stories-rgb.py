_base_ = '../selfy-tsn-r18-slim_1xb12-1x1x8-2e_stories-rgb.py'

__stcb = dict(type='STCB', reduced_channels=32, channels=(8, 8, 8, 8))
__block = dict(_delete_=True, type='SequentialBlocks', blocks=[__stcb, __stcb])
model = dict(backbone=dict(selfy=dict(block=__block)))
