# For the 64x64 pixels of the motion benchmark: an eighth of the width, and no stride in
# layer2, as in tsn_r18_slim.py.
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='ResNet3dSlowOnly',
        depth=18,
        base_channels=8,
        lateral=False,
        conv1_kernel=(1, 7, 7),
        conv1_stride_t=1,
        pool1_stride_t=1,
        spatial_strides=(1, 1, 2, 2),
        inflate=(0, 0, 1, 1),
        norm_eval=False,
        pretrained=None,
    ),
    cls_head=dict(
        type='I3DHead',
        num_classes=12,
        in_channels=64,
        dropout_ratio=0,
        init_std=0.01,
        average_clips='prob',
    ),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        format_shape='NCTHW',
    ),
)
