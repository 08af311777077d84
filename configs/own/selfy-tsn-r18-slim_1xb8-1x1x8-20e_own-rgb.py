_base_ = [
    '../_base_/models/selfy_tsn_r18_slim.py',
    '../_base_/datasets/own_videos_112.py',
    '../_base_/schedules/adamw_20e_own.py',
    '../_base_/default_runtime.py',
]

# For a CPU. It starts from the network of the motion benchmark in this package.
# load_from would not: `train.py --resume` ignores it, also before the first checkpoint.
optim_wrapper = dict(optimizer=dict(lr=2e-3))
__head = dict(type='ClassFileHead', num_classes=None, class_file=_base_.class_file)
model = dict(
    backbone=dict(
        num_segments=_base_.num_frames,
        pretrained='selfy_mmaction://selfy-tsn-r18-slim-motion',
    ),
    cls_head=dict(**__head, num_segments=_base_.num_frames),
)
