_base_ = [
    '../_base_/models/selfy_tsm_r50_16f.py',
    '../_base_/datasets/kinetics400.py',
    '../_base_/schedules/sgd_cosine_65e.py',
    '../_base_/default_runtime.py',
]

model = dict(cls_head=dict(num_classes=400))
