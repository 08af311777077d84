# For the 64x64 pixels of the motion benchmark: 8x8 tokens per frame, four layers.
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='TimeSformer',
        pretrained=None,
        num_frames=8,
        img_size=64,
        patch_size=8,
        embed_dims=48,
        num_heads=4,
        num_transformer_layers=4,
        attention_type='divided_space_time',
    ),
    cls_head=dict(
        type='TimeSformerHead',
        num_classes=12,
        in_channels=48,
        average_clips='prob',
    ),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        format_shape='NCTHW',
    ),
)
