_base_ = './moss-order-1-tsn-r18-slim_1xb12-1x1x8-3e_stories-rgb.py'

model = dict(backbone=dict(selfy=dict(block=dict(orders=(1, 2)))))
