_base_ = './selfy-tsm-r50_8xb8-1x1x8-50e_sthv1-rgb.py'

model = dict(
    backbone=dict(depth=18, pretrained='torchvision://resnet18'),
    cls_head=dict(in_channels=512),
)
