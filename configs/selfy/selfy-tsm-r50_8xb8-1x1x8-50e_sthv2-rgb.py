_base_ = [
    '../_base_/models/selfy_tsm_r50.py',
    '../_base_/datasets/sthv2.py',
    '../_base_/schedules/sgd_50e_sth.py',
    '../_base_/default_runtime.py',
]
