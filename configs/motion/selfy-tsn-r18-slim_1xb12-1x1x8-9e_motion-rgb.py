_base_ = [
    '../_base_/models/selfy_tsn_r18_slim.py',
    '../_base_/datasets/motion.py',
    '../_base_/schedules/adamw_6e.py',
    '../_base_/default_runtime.py',
]
# After six epochs, some seeds do not tell opposite motions apart yet.
train_cfg = dict(max_epochs=9)
