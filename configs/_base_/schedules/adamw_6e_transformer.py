# A lower learning rate than in adamw_6e.py, as is usual for transformers. We tried no
# other.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=6, val_begin=1, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.02), clip_grad=dict(max_norm=5)
)
# Without total_steps and end, the schedule lasts as long as the training.
param_scheduler = [
    dict(
        type='OneCycleLR',
        eta_max=1e-3,
        pct_start=0.15,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
auto_scale_lr = dict(enable=False, base_batch_size=12)
