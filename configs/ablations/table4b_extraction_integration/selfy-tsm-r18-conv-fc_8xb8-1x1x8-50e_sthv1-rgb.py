_base_ = '../selfy-tsm-r18_8xb8-1x1x8-50e_sthv1-rgb.py'

model = dict(
    backbone=dict(selfy=dict(block=dict(integration=dict(type='FCIntegration'))))
)
