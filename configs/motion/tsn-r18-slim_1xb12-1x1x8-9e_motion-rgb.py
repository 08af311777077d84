_base_ = './tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'

# With six epochs, some seeds do not tell opposite motions apart yet.
train_cfg = dict(max_epochs=9)
