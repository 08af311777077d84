_base_ = [
    '../_base_/models/tsm_r50_16f.py',
    '../_base_/datasets/sthv1_16f.py',
    '../_base_/schedules/sgd_50e_sth.py',
    '../_base_/default_runtime.py',
]
