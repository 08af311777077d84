_base_ = './tsn-r50_8xb8-1x1x8-50e_sthv2-rgb.py'

model = dict(backbone=dict(type='ResNetTSMSELFY'))
