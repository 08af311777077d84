_base_ = './selfy-tsm-r50_1x1x8_sthv1-rgb.py'

model = dict(
    backbone=dict(depth=18, pretrained='torchvision://resnet18'),
    cls_head=dict(in_channels=512),
)
