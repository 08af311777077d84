_base_ = './tsn_r50.py'

model = dict(
    backbone=dict(depth=18, pretrained='torchvision://resnet18'),
    cls_head=dict(in_channels=512),
)
