_base_ = './sthv2.py'

# Supplement A: 8 segments, flips for every class; the paper reports the mean accuracy
# over classes (acc/mean1).
data_root = 'data/gym/'
dataset = dict(data_prefix=dict(video=data_root + 'subactions'), num_classes=99)

train_pipeline = [
    dict(type='Flip', flip_ratio=0.5) if step['type'] == 'SelectiveFlip' else step
    for step in _base_.train_pipeline
]

train_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file=data_root + 'gym99_train_list_videos.txt',
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(**dataset, ann_file=data_root + 'gym99_val_list_videos.txt')
)
test_dataloader = val_dataloader
