# Supplement B: dense sampling of 16 frames; 10 clips x 3 crops for testing, as in
# non-local networks (short side 256). Not in the paper: a clip spans 64 frames, as in
# TSM's recipe, and short clips start over, also as in TSM.
data_root = 'data/kinetics400/'

# SELFY_DECODER in the environment selects how clips are read (docs/data.md): OpenCV and
# PyAV are other decoders, RawFrame reads extracted frames. mmengine drops names with
# two leading underscores.
if '{{$SELFY_DECODER:Decord}}' == 'RawFrame':
    __kind, __prefix = 'rawframes', 'img'
    __open_video = []
    __dataset = dict(type='CheckedRawframeDataset', filename_tmpl='img_{:05}.jpg')
else:
    __kind, __prefix = 'videos', 'video'
    __open_video = [dict(type='{{$SELFY_DECODER:Decord}}Init')]
    __dataset = dict(type='CheckedVideoDataset')

train_pipeline = [
    *__open_video,
    dict(type='DenseSampleFrames', clip_len=1, frame_interval=1, num_clips=16),
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
        type='DenseSampleFrames',
        clip_len=1,
        frame_interval=1,
        num_clips=16,
        num_sample_positions=1,
        test_mode=True,
    ),
    dict(type='{{$SELFY_DECODER:Decord}}Decode'),
    dict(type='Resize', scale=(320, 240), keep_ratio=False),
    dict(type='CenterCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs', meta_keys=('img_shape', 'filename', 'frame_dir')),
]
test_pipeline = [
    *__open_video,
    dict(
        type='DenseSampleFrames',
        clip_len=1,
        frame_interval=1,
        num_clips=16,
        num_sample_positions=10,
        test_mode=True,
    ),
    dict(type='{{$SELFY_DECODER:Decord}}Decode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='ThreeCrop', crop_size=256),
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
        ann_file=f'{data_root}kinetics400_train_list_{__kind}.txt',
        data_prefix={__prefix: f'{data_root}{__kind}_train'},
        num_classes=400,
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
        ann_file=f'{data_root}kinetics400_val_list_{__kind}.txt',
        data_prefix={__prefix: f'{data_root}{__kind}_val'},
        num_classes=400,
        pipeline=val_pipeline,
        test_mode=True,
    ),
)
test_dataloader = dict(
    batch_size=1,  # of 30 views each
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        **__dataset,
        ann_file=f'{data_root}kinetics400_val_list_{__kind}.txt',
        data_prefix={__prefix: f'{data_root}{__kind}_val'},
        num_classes=400,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)

val_evaluator = dict(type='AccMetric')
test_evaluator = val_evaluator
