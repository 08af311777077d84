# The official forms of the block and the last layer, where they differ from the paper.
model = dict(
    type='Recognizer2D',
    backbone=dict(
        type='ResNetTSMSELFY',
        depth=50,
        num_segments=8,
        pretrained='torchvision://resnet50',
        selfy=dict(
            after='res3',
            block=dict(
                type='SELFYBlock',
                offsets=(-2, -1, 0, 1, 2),
                window=(9, 9),
                # Three 3x3 convolutions per offset, then one over all offsets to 64
                # channels. The paper: four, then 1x1x1 to C (Eq. 9).
                integration=dict(type='ReleasedIntegration'),
                # 1x1 transposed convolution to C: three of four positions get only the
                # norm's bias. The paper: "upsample".
                restoration=dict(type='TransposedConvRestoration'),
                # ReLU(V + x). The paper: V + ReLU(x) (Eq. 9).
                fusion=dict(type='ResidualFusion', relu='after'),
                # The block starts as the identity. The paper does not specify this.
                zero_init_last_norm=True,
            ),
        ),
    ),
    # The last layer is initialized Xavier uniform.
    cls_head=dict(
        type='XavierTSMHead',
        num_classes=174,
        in_channels=2048,
        num_segments=8,
        dropout_ratio=0.5,
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
