# mmaction2's TimeSformer with divided attention, and a MOSS block after layer 6 of 12.
# MOSS itself is in a side network of CLIP, which mmaction2 lacks: it reads the features
# after layer 4. The position here is that of configs/mixing.
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='InsertBlocks',
        backbone=dict(
            type='TimeSformer',
            pretrained='https://download.openmmlab.com/mmaction/recognition/'
            'timesformer/vit_base_patch16_224.pth',
            num_frames=8,
            img_size=224,
            patch_size=16,
            embed_dims=768,
            attention_type='divided_space_time',
            norm_cfg=dict(type='LN', eps=1e-6),
        ),
        blocks=[
            dict(
                after='transformer_layers.layers.5',
                layout='n (h w t) c',
                block=dict(type='MOSSBlock', orders=(1,)),
            )
        ],
        input_shape=(1, 3, 8, 224, 224),
    ),
    cls_head=dict(
        type='TimeSformerHead',
        num_classes=174,
        in_channels=768,
        average_clips='prob',
    ),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        format_shape='NCTHW',
    ),
)
