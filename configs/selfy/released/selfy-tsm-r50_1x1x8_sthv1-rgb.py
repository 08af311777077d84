_base_ = [
    '../../_base_/models/selfy_tsm_r50_released.py',
    '../../_base_/datasets/sthv1.py',
    '../../_base_/schedules/sgd_50e_sth.py',
    '../../_base_/default_runtime.py',
]

# The official code leaves out the last, incomplete batch of an epoch. It does so in
# validation, too (2 of 11522 clips); here every clip counts.
train_dataloader = dict(drop_last=True)
