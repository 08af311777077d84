# Supplement A: 16 segments, resized to exactly 240x320, random scaling and flipping for
# training, the center 224x224 of two clips for testing. Clips of every class are
# flipped. The paper's 41.6 is on the first version of the labels (V1); make the lists
# from it.
data_root = 'data/diving48/'

# SELFY_DECODER in the environment selects how clips are read (docs/data.md): OpenCV and
# PyAV are other decoders, RawFrame reads extracted frames. mmengine drops names with
# two leading underscores.
if '{{$SELFY_DECODER:Decord}}' == 'RawFrame':
    __kind = 'rawframes'
    __open_video = []
    __dataset = dict(
        type='CheckedRawframeDataset',
        filename_tmpl='img_{:05}.jpg',
        data_prefix=dict(img=data_root + 'rawframes'),
    )
else:
    __kind = 'videos'
    __open_video = [dict(type='{{$SELFY_DECODER:Decord}}Init')]
    __dataset = dict(
        type='CheckedVideoDataset', data_prefix=dict(video=data_root + 'videos')
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
    dict(type='Flip', flip_ratio=0.5),
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
test_pipeline = [
    *__open_video,
    dict(
        type='SampleFrames',
        clip_len=1,
        frame_interval=1,
        num_clips=16,
        twice_sample=True,
        test_mode=True,
    ),
    dict(type='ShortClips', test_mode=True),
    dict(type='{{$SELFY_DECODER:Decord}}Decode'),
    dict(type='Resize', scale=(320, 240), keep_ratio=False),
    dict(type='CenterCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs', meta_keys=('img_shape', 'filename', 'frame_dir')),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        **__dataset,
        ann_file=f'{data_root}diving48_v1_train_list_{__kind}.txt',
        num_classes=48,
        on_unreadable='fail',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **__dataset,
        ann_file=f'{data_root}diving48_v1_val_list_{__kind}.txt',
        num_classes=48,
        pipeline=val_pipeline,
        test_mode=True,
    ),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **__dataset,
        ann_file=f'{data_root}diving48_v1_val_list_{__kind}.txt',
        num_classes=48,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)

val_evaluator = dict(type='AccMetric')
test_evaluator = val_evaluator
