_base_ = [
    '../_base_/models/selfy_tsm_r50.py',
    '../_base_/datasets/own_videos.py',
    '../_base_/schedules/adamw_20e_own.py',
    '../_base_/default_runtime.py',
]

__head = dict(type='ClassFileHead', num_classes=None, class_file=_base_.class_file)
model = dict(
    backbone=dict(num_segments=_base_.num_frames),
    cls_head=dict(**__head, num_segments=_base_.num_frames),
)
