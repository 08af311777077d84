_base_ = [
    '../../_base_/models/selfy_tsm_r50_official.py',
    '../../_base_/datasets/sthv1.py',
    '../../_base_/schedules/sgd_50e_sth.py',
    '../../_base_/default_runtime.py',
]

# The official code drops the last, incomplete batch of an epoch. It does so in
# validation, too (2 of 11522 clips); here every clip counts.
train_dataloader = dict(drop_last=True)
