_base_ = [
    '../_base_/models/selfy_tsm_r18_slim.py',
    '../_base_/datasets/motion.py',
    '../_base_/schedules/adamw_6e.py',
    '../_base_/default_runtime.py',
]

# No frame sees a later one, so the network can run on a stream: docs/streaming.md.
model = dict(
    backbone=dict(causal_shift=True, selfy=dict(block=dict(offsets=(-2, -1, 0))))
)
