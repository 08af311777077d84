_base_ = '../selfy-tsm-r18-slim_1xb12-1x1x8-2e_stories-rgb.py'

model = dict(backbone=dict(selfy=dict(after='pool1')))
