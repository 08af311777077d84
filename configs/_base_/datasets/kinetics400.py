_base_ = './sthv2.py'

# Supplement B: dense sampling of 16 frames; for testing 10 clips x 3 crops as in
# non-local networks (short side 256). Not in the paper: the 64 frames that a clip
# spans, which are those of TSM's recipe.
data_root = 'data/kinetics400/'
dense = dict(type='DenseSampleFrames', clip_len=1, frame_interval=1, num_clips=16)

train_pipeline = [
    {
        'SampleFrames': dense,
        'SelectiveFlip': dict(type='Flip', flip_ratio=0.5),
    }.get(step['type'], step)
    for step in _base_.train_pipeline
]
val_pipeline = [
    {
        'SampleFrames': dict(dense, num_sample_positions=1, test_mode=True),
    }.get(step['type'], step)
    for step in _base_.val_pipeline
]
test_pipeline = [
    {
        'SampleFrames': dict(dense, num_sample_positions=10, test_mode=True),
        'Resize': dict(type='Resize', scale=(-1, 256)),
        'CenterCrop': dict(type='ThreeCrop', crop_size=256),
    }.get(step['type'], step)
    for step in _base_.val_pipeline
]

train_dataloader = dict(
    dataset=dict(
        ann_file=data_root + 'kinetics400_train_list_videos.txt',
        data_prefix=dict(video=data_root + 'videos_train'),
        num_classes=400,
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        ann_file=data_root + 'kinetics400_val_list_videos.txt',
        data_prefix=dict(video=data_root + 'videos_val'),
        num_classes=400,
        pipeline=val_pipeline,
    )
)
# 30 views of a clip at once.
test_dataloader = dict(
    batch_size=1,
    dataset=dict(
        ann_file=data_root + 'kinetics400_val_list_videos.txt',
        data_prefix=dict(video=data_root + 'videos_val'),
        num_classes=400,
        pipeline=test_pipeline,
    ),
)
