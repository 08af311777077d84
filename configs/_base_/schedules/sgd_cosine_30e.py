_base_ = './sgd_50e_sth.py'

# Supplement A, Diving-48: cosine schedule of 30 epochs, the first 10 of them a gradual
# warm-up to the learning rate of 0.01. Where the warm-up starts is not in the paper.
# The cosine ends with the last epoch, whichever that is.
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
        by_epoch=True,
        begin=10,
        convert_to_iter_based=True,
    ),
]
