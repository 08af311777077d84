_base_ = [
    '../_base_/models/tsn_r50.py',
    '../_base_/datasets/sthv2_16f.py',
    '../_base_/schedules/sgd_50e_sth.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(type='ResNetTSMSELFY', num_segments=16),
    cls_head=dict(num_segments=16),
)
