_base_ = '../ablations/selfy-tsm-r18_8xb8-1x1x8-50e_sthv1-rgb.py'

model = dict(
    backbone=dict(selfy=dict(block=dict(_delete_=True, type='MotionSqueezeBlock')))
)
