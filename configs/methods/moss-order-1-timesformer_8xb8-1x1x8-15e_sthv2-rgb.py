_base_ = [
    '../_base_/models/moss_timesformer.py',
    '../_base_/datasets/sthv2_clips.py',
    '../_base_/schedules/sgd_15e_timesformer.py',
    '../_base_/default_runtime.py',
]
