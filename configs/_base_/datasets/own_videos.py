# Your own videos, as tools/data/own_videos.py prepares them (docs/own-videos.md). What
# you may want to change is in this part. The environment sets it, too, such as
# SELFY_DATA=data/mine SELFY_FRAMES=16 SELFY_SIZE=160, for every place that needs it.
data_root = '{{$SELFY_DATA:data/own}}'
num_frames = int('{{$SELFY_FRAMES:8}}')  # per clip, spread over the whole video
input_size = int('{{$SELFY_SIZE:224}}')  # width and height that the network sees

class_file = f'{data_root}/classes.txt'  # its names set the number of classes

# Videos of any size: the crop takes 66 to 100 % of the short side.
train_pipeline = [
    dict(type='{{$SELFY_DECODER:Decord}}Init'),
    dict(type='SampleFrames', clip_len=1, frame_interval=1, num_clips=num_frames),
    dict(type='{{$SELFY_DECODER:Decord}}Decode'),
    dict(
        type='MultiScaleCrop',
        input_size=input_size,
        scales=(1, 0.875, 0.75, 0.66),
        random_crop=False,
        max_wh_scale_gap=1,
        num_fixed_crops=13,
    ),
    dict(type='Resize', scale=(input_size, input_size), keep_ratio=False),
    dict(type='SelectiveFlip', class_names=class_file),
    dict(type='FormatShape', input_format='NCHW'),
    dict(type='PackActionInputs'),
]
val_pipeline = [
    dict(type='{{$SELFY_DECODER:Decord}}Init'),
    dict(
        type='SampleFrames',
        clip_len=1,
        frame_interval=1,
        num_clips=num_frames,
        test_mode=True,
    ),
    dict(type='{{$SELFY_DECODER:Decord}}Decode'),
    dict(type='Resize', scale=(-1, input_size * 8 // 7)),  # short side
    dict(type='CenterCrop', crop_size=input_size),
    dict(type='FormatShape', input_format='NCHW'),
    # tools/ensemble.py matches dumps by clip name.
    dict(type='PackActionInputs', meta_keys=('img_shape', 'filename')),
]
test_pipeline = val_pipeline  # read by inference_recognizer

# ExactResumeHook starts the workers anew in each epoch, so they are not persistent, and
# num_workers=0 is possible.
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    # For few clips in some classes: train_dataloader.sampler.type=BalancedSampler.
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CheckedVideoDataset',
        ann_file=f'{data_root}/train.txt',
        data_prefix=dict(video=f'{data_root}/videos'),
        delimiter='\t',
        class_file=class_file,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CheckedVideoDataset',
        ann_file=f'{data_root}/val.txt',
        data_prefix=dict(video=f'{data_root}/videos'),
        delimiter='\t',
        class_file=class_file,
        pipeline=val_pipeline,
        test_mode=True,
    ),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CheckedVideoDataset',
        ann_file=f'{data_root}/test.txt',
        data_prefix=dict(video=f'{data_root}/videos'),
        delimiter='\t',
        class_file=class_file,
        pipeline=val_pipeline,
        test_mode=True,
    ),
)

# Top-1 accuracy, and the mean over the classes, which counts small classes equally.
val_evaluator = dict(
    type='AccMetric', metric_list=('top_k_accuracy', 'mean_class_accuracy')
)
test_evaluator = val_evaluator
