_base_ = '../selfy-tsm-r18-slim_1xb12-1x1x8-2e_stories-rgb.py'

model = dict(backbone=dict(selfy=dict(block=dict(offsets=(-1, 0, 1)))))
