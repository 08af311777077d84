# Supplement A: 8 segments, exactly 240x320, random scaling and flipping for training,
# the center 224x224 of one clip for testing. Not in the paper but in the released
# recipe: the scales and the positions of the crops, and what becomes of short clips.
data_root = 'data/sthv2/'

# How clips are read, for all datasets: SELFY_DECODER=OpenCV (or PyAV) in the
# environment changes the decoder, RawFrame reads frames extracted before. More than
# decord's one thread a reader gains nothing (tools/data/reading_speed.py).
kind = 'rawframes' if '{{$SELFY_DECODER:Decord}}' == 'RawFrame' else 'videos'
prefix = dict(videos='video', rawframes='img')[kind]
dataset = dict(
    videos=dict(type='CheckedVideoDataset'),
    rawframes=dict(type='CheckedRawframeDataset', filename_tmpl='img_{:05}.jpg'),
)[kind]

train_pipeline = [
    dict(type='{{$SELFY_DECODER:Decord}}Init'),
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
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs'),
]
val_pipeline = [
    dict(type='{{$SELFY_DECODER:Decord}}Init'),
    dict(
        type='SampleFrames', clip_len=1, frame_interval=1, num_clips=8, test_mode=True
    ),
    dict(type='ShortClips', test_mode=True),
    dict(type='{{$SELFY_DECODER:Decord}}Decode'),
    dict(type='Resize', scale=(320, 240), keep_ratio=False),
    dict(type='CenterCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCHW'),
    # The name of the clip, by which tools/ensemble.py tells whether dumps match.
    dict(type='PackActionInputs', meta_keys=('img_shape', 'filename', 'frame_dir')),
]
if kind == 'rawframes':  # nothing to open
    train_pipeline, val_pipeline = train_pipeline[1:], val_pipeline[1:]
test_pipeline = val_pipeline  # also what inference_recognizer reads

# A clip that cannot be decoded stops the training, by name. on_unreadable='skip' in
# the training dataset goes on with another. The last batch of an epoch is smaller;
# the official code leaves it out (configs/selfy/released), the paper does not say.
train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}sthv2_train_list_{kind}.txt',
        data_prefix={prefix: data_root + kind},
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
        **dataset,
        ann_file=f'{data_root}sthv2_val_list_{kind}.txt',
        data_prefix={prefix: data_root + kind},
        num_classes=174,
        pipeline=val_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='AccMetric')
test_evaluator = val_evaluator
