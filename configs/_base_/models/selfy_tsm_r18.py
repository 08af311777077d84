# Section 4.1 and supplement A. The paper does not give the widths (reduction 128,
# extraction 4-16-64-64, integration 64): they are the official code's, and the defaults
# of the block.
model = dict(
    type='Recognizer2D',
    backbone=dict(
        type='ResNetTSMSELFY',
        depth=18,
        num_segments=8,
        pretrained='torchvision://resnet18',
        selfy=dict(
            after='res3',
            block=dict(type='SELFYBlock', offsets=(-2, -1, 0, 1, 2), window=(9, 9)),
        ),
    ),
    # TSMHead averages over the frames of a clip, then over the clips of a video.
    # Dropout follows the official recipe. The paper does not say how the last layer is
    # initialized: here N(0, 0.001), as in TSM; in the official code Xavier uniform
    # (selfy_tsm_r50_official.py).
    cls_head=dict(
        type='TSMHead',
        num_classes=174,
        in_channels=512,
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
