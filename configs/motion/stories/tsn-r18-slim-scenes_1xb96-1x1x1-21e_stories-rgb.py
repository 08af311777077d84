# The weights that all networks of the stories start from; docs/evidence.md
_base_ = [
    '../../_base_/models/tsn_r18_stories.py',
    '../../_base_/datasets/motion_scenes.py',
    '../../_base_/schedules/adamw_6e.py',
    '../../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(num_segments=1, pretrained=None),
    cls_head=dict(num_classes=450, num_segments=1),
)
train_cfg = dict(max_epochs=21, val_begin=21)
auto_scale_lr = dict(base_batch_size=96)
