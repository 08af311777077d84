_base_ = './selfy-tsm-r50_8xb8-1x1x8-50e_sthv1-rgb.py'

# No frame sees a later one, so the network can run on a stream: docs/streaming.md.
model = dict(
    backbone=dict(causal_shift=True, selfy=dict(block=dict(offsets=(-2, -1, 0))))
)
