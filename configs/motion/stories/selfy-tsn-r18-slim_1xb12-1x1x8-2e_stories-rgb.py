_base_ = [
    '../../_base_/models/selfy_tsn_r18_stories.py',
    '../../_base_/datasets/motion_stories.py',
    '../../_base_/schedules/adamw_6e.py',
    '../../_base_/default_runtime.py',
]
train_cfg = dict(max_epochs=2, val_begin=2)
