data_root = 'data/motion-stories/'

train_pipeline = [
    dict(type='DecordInit'),
    # The middle frame of each segment, because only these are the same in all orders.
    dict(
        type='SampleFrames', clip_len=1, frame_interval=1, num_clips=8, test_mode=True
    ),
    dict(type='DecordDecode'),
    dict(type='RandomCrop', size=64),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs'),
]
val_pipeline = [
    dict(type='DecordInit'),
    dict(
        type='SampleFrames', clip_len=1, frame_interval=1, num_clips=8, test_mode=True
    ),
    dict(type='DecordDecode'),
    dict(type='CenterCrop', crop_size=64),
    dict(type='FormatShape', input_format='NCHW'),
    # tools/ensemble.py matches dumps by clip name.
    dict(type='PackActionInputs', meta_keys=('img_shape', 'filename')),
]
test_pipeline = val_pipeline  # read by inference_recognizer

train_dataloader = dict(
    batch_size=12,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CheckedVideoDataset',
        ann_file=data_root + 'train.txt',
        data_prefix=dict(video=data_root + 'videos'),
        num_classes=8,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=12,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CheckedVideoDataset',
        ann_file=data_root + 'val.txt',
        data_prefix=dict(video=data_root + 'videos'),
        num_classes=8,
        pipeline=val_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='AccMetric')
test_evaluator = val_evaluator
