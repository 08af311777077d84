_base_ = './sthv2.py'

# sthv2.py with 16 segments. Extracted frames need no step that opens a video.
__open_video = (
    []
    if '{{$SELFY_DECODER:Decord}}' == 'RawFrame'
    else [dict(type='{{$SELFY_DECODER:Decord}}Init')]
)
train_pipeline = [
    *__open_video,
    dict(type='SampleFrames', clip_len=1, frame_interval=1, num_clips=16),
    dict(type='ShortClips'),
    dict(type='{{$SELFY_DECODER:Decord}}Decode'),
    dict(type='Resize', scale=(320, 240), keep_ratio=False),
    dict(
        type='MultiScaleCrop',
        input_size=224,
        scales=(1, 0.875, 0.75, 0.66),
        random_crop=False,
        max_wh_scale_gap=1,
        num_fixed_crops=13,
    ),
    dict(type='Resize', scale=(224, 224), keep_ratio=False),
    dict(type='SelectiveFlip', class_names=_base_.data_root + 'classes.txt'),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs'),
]
val_pipeline = [
    *__open_video,
    dict(
        type='SampleFrames', clip_len=1, frame_interval=1, num_clips=16, test_mode=True
    ),
    dict(type='ShortClips', test_mode=True),
    dict(type='{{$SELFY_DECODER:Decord}}Decode'),
    dict(type='Resize', scale=(320, 240), keep_ratio=False),
    dict(type='CenterCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs', meta_keys=('img_shape', 'filename', 'frame_dir')),
]
test_pipeline = val_pipeline  # read by inference_recognizer

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
