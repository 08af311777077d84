# For the motion stories, 64x64 pixels: an eighth of the width, and no stride in res3.
# mmaction2's ResNet has no base_channels, so the baseline also uses our class.
model = dict(
    type='Recognizer2D',
    backbone=dict(
        type='ResNetSELFY',
        depth=18,
        num_segments=8,
        base_channels=8,
        strides=(1, 1, 2, 2),
        # From tsn-r18-slim-scenes, trained on single frames, as ImageNet in the paper.
        pretrained='selfy_mmaction://resnet18-slim-scenes',
    ),
    # Averages over the frames of a clip, then over the clips of a video.
    cls_head=dict(
        type='TSMHead',
        num_classes=8,
        in_channels=64,
        num_segments=8,
        dropout_ratio=0,
        init_std=0.01,
        average_clips='prob',
    ),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        format_shape='NCHW',
    ),
    train_cfg=None,
    test_cfg=None,
)
