_base_ = './sgd_50e_sth.py'

# Supplement A, Diving-48: cosine schedule of 30 epochs, the first 10 of them a gradual
# warm-up to the learning rate of 0.01. Where the warm-up starts is not in the paper.
train_cfg = dict(max_epochs=30)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.1,
        by_epoch=True,
        begin=0,
        end=10,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        T_max=20,
        by_epoch=True,
        begin=10,
        end=30,
        convert_to_iter_based=True,
    ),
]
