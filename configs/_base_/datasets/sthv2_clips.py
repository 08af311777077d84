# The clips of sthv2.py for 3D networks: 8 clips of one frame become one clip of 8.
data_root = 'data/sthv2/'

# SELFY_DECODER in the environment selects how clips are read (docs/data.md): OpenCV and
# PyAV are other decoders, RawFrame reads extracted frames. More than one decord thread
# per worker gains nothing (tools/data/reading_speed.py). mmengine drops names with two
# leading underscores.
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
    dict(type='SampleFrames', clip_len=1, frame_interval=1, num_clips=8),
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
    dict(type='SelectiveFlip', class_names=data_root + 'classes.txt'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='Transpose', keys=['imgs'], order=(2, 1, 0, 3, 4)),
    dict(type='PackActionInputs'),
]
val_pipeline = [
    *__open_video,
    dict(
        type='SampleFrames', clip_len=1, frame_interval=1, num_clips=8, test_mode=True
    ),
    dict(type='ShortClips', test_mode=True),
    dict(type='{{$SELFY_DECODER:Decord}}Decode'),
    dict(type='Resize', scale=(320, 240), keep_ratio=False),
    dict(type='CenterCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='Transpose', keys=['imgs'], order=(2, 1, 0, 3, 4)),
    # tools/ensemble.py matches dumps by clip name.
    dict(type='PackActionInputs', meta_keys=('img_shape', 'filename', 'frame_dir')),
]
test_pipeline = val_pipeline  # read by inference_recognizer

# A clip that cannot be decoded stops the training with an error that names it; with
# on_unreadable='skip' another clip takes its place. The last, incomplete batch of an
# epoch is kept. The official code drops it (configs/selfy/official); the paper does not
# say.
train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        **__dataset,
        ann_file=f'{data_root}sthv2_train_list_{__kind}.txt',
        num_classes=174,
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
        ann_file=f'{data_root}sthv2_val_list_{__kind}.txt',
        num_classes=174,
        pipeline=val_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='AccMetric')
test_evaluator = val_evaluator
