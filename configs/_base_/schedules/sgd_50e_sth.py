# Supplement A: SGD with momentum 0.9, learning rate 0.01, 50 epochs, decayed by 1/10
# after epochs 30 and 40. Not in the paper but in the official recipe: Nesterov, a
# batch of 64, weight decay 5e-4, gradient clipping at 20, and the same learning rates
# for the last layer as for all others (weights x1, biases x2 without decay).
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=50, val_begin=1, val_interval=1)
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
        type='MultiStepLR',
        begin=0,
        end=50,
        by_epoch=True,
        milestones=[30, 40],
        gamma=0.1,
    )
]

# 8 GPUs x 8 clips
auto_scale_lr = dict(enable=False, base_batch_size=64)
