_base_ = '../selfy/selfy-tsm-r50_8xb8-1x1x8-50e_sthv2-rgb.py'

model = dict(
    backbone=dict(
        selfy=dict(block=dict(_delete_=True, type='MOSSBlock', orders=(1, 2)))
    )
)
