_base_ = [
    '../_base_/models/selfy_tsn_r50.py',
    '../_base_/datasets/kinetics400.py',
    '../_base_/schedules/sgd_cosine_65e.py',
    '../_base_/default_runtime.py',
]

selfy = dict(block=dict(offsets=(-4, -3, -2, -1, 0, 1, 2, 3, 4)))
model = dict(
    backbone=dict(type='ResNetTSMSELFY', num_segments=16, selfy=selfy),
    cls_head=dict(num_segments=16, num_classes=400),
)
