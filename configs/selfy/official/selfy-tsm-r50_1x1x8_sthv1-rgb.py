_base_ = [
    '../../_base_/models/selfy_tsm_r50_official.py',
    '../../_base_/datasets/sthv1.py',
    '../../_base_/schedules/sgd_50e_sth.py',
    '../../_base_/default_runtime.py',
]

# The official code drops the last, incomplete batch of an epoch. It also does so in
# validation (2 of 11522 clips); here validation uses every clip.
train_dataloader = dict(drop_last=True)
