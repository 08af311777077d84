_base_ = [
    '../_base_/models/selfy_tsm_r50.py',
    '../_base_/datasets/gym288.py',
    '../_base_/schedules/sgd_cosine_40e.py',
    '../_base_/default_runtime.py',
]

model = dict(cls_head=dict(num_classes=288))
