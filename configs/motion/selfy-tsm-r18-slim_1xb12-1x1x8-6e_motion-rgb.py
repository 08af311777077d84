_base_ = [
    '../_base_/models/selfy_tsm_r18_slim.py',
    '../_base_/datasets/motion.py',
    '../_base_/schedules/adamw_6e.py',
    '../_base_/default_runtime.py',
]
