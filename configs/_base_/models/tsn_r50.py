model = dict(
    type='Recognizer2D',
    backbone=dict(
        type='ResNetSELFY',
        depth=50,
        num_segments=8,
        pretrained='torchvision://resnet50',
    ),
    # Averages the frames of one clip, then the clips of one video: SELFY sees clips.
    # Dropout as in the official recipe. How the last layer starts is not in the paper:
    # from N(0, 0.001), as in TSM; in the official code Xavier uniform
    # (selfy_tsm_r50_released.py).
    cls_head=dict(
        type='TSMHead',
        num_classes=174,
        in_channels=2048,
        num_segments=8,
        dropout_ratio=0.5,
        init_std=0.001,
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
