_base_ = './selfy-tsm-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'

# No frame sees a later one, so the network can run on a stream: docs/streaming.md.
model = dict(
    backbone=dict(causal_shift=True, selfy=dict(block=dict(offsets=(-2, -1, 0))))
)
