_base_ = './selfy-tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'

model = dict(backbone=dict(type='ResNetTSMSELFY'))
