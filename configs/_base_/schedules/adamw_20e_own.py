# Fine-tuning on hundreds of clips. Nothing here has a fixed end, so max_epochs can be
# changed alone, and the learning rate is optim_wrapper.optimizer.lr alone.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=20, val_begin=1, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=3e-4, weight_decay=0.02), clip_grad=dict(max_norm=5)
)
param_scheduler = [
    # The first epoch warms up, also if it is the only one: both schedules multiply.
    dict(
        type='LinearLR',
        start_factor=0.1,
        by_epoch=True,
        begin=0,
        end=1,
        convert_to_iter_based=True,
    ),
    # Without T_max and end, the cosine ends with the training.
    dict(type='CosineAnnealingLR', by_epoch=True, convert_to_iter_based=True),
]

# 1 GPU x 8 clips
auto_scale_lr = dict(enable=False, base_batch_size=8)
