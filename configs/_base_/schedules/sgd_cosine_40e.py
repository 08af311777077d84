# Supplement A, FineGym: 40 epochs with a cosine schedule, the first 10 of them a
# gradual warm-up to the learning rate of 0.01. The paper does not say where the warm-up
# starts. sgd_50e_sth.py lists the optimizer options that are not in the paper.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=40, val_begin=1, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    constructor='TSMOptimWrapperConstructor',
    paramwise_cfg=dict(fc_lr5=False),
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True),
    clip_grad=dict(max_norm=20, norm_type=2),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.1,
        by_epoch=True,
        begin=0,
        end=10,
        convert_to_iter_based=True,
    ),
    # Without end, the cosine ends with the last epoch, even if max_epochs changes.
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=10,
        convert_to_iter_based=True,
    ),
]

# 8 GPUs x 8 clips
auto_scale_lr = dict(enable=False, base_batch_size=64)
