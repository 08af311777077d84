_base_ = './sthv2.py'

# Supplement B: dense sampling of 16 frames; for testing 10 clips x 3 crops as in
# non-local networks (short side 256). Not in the paper: the 64 frames that a clip
# spans, which are those of TSM's recipe; short clips start again, as there.
data_root = 'data/kinetics400/'
dense = dict(type='DenseSampleFrames', clip_len=1, frame_interval=1, num_clips=16)

train_pipeline = [
    {
        'SampleFrames': dense,
        'SelectiveFlip': dict(type='Flip', flip_ratio=0.5),
    }.get(step['type'], step)
    for step in _base_.train_pipeline
    if step['type'] != 'ShortClips'
]
val_pipeline = [
    {
        'SampleFrames': dict(dense, num_sample_positions=1, test_mode=True),
    }.get(step['type'], step)
    for step in _base_.val_pipeline
    if step['type'] != 'ShortClips'
]
test_pipeline = [
    {
        'DenseSampleFrames': dict(dense, num_sample_positions=10, test_mode=True),
        'Resize': dict(type='Resize', scale=(-1, 256)),
        'CenterCrop': dict(type='ThreeCrop', crop_size=256),
    }.get(step['type'], step)
    for step in val_pipeline
]

train_set = dict(
    ann_file=f'{data_root}kinetics400_train_list_{_base_.kind}.txt',
    data_prefix={_base_.prefix: f'{data_root}{_base_.kind}_train'},
    num_classes=400,
)
val_set = dict(
    ann_file=f'{data_root}kinetics400_val_list_{_base_.kind}.txt',
    data_prefix={_base_.prefix: f'{data_root}{_base_.kind}_val'},
    num_classes=400,
)
train_dataloader = dict(dataset=dict(**train_set, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(**val_set, pipeline=val_pipeline))
# 30 views of a clip at once.
test_dataloader = dict(batch_size=1, dataset=dict(**val_set, pipeline=test_pipeline))
