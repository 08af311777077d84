_base_ = [
    '../_base_/models/tsm_r50.py',
    '../_base_/datasets/gym288_3f.py',
    '../_base_/schedules/sgd_cosine_40e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(num_segments=3), cls_head=dict(num_segments=3, num_classes=288)
)
