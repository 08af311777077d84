_base_ = './sthv2.py'

# Supplement A: 8 segments, flips for every class; the paper reports the mean accuracy
# over classes (acc/mean1).
data_root = 'data/gym/'
folder = dict(videos='subactions', rawframes='subaction_frames')[_base_.kind]
dataset = dict(data_prefix={_base_.prefix: data_root + folder}, num_classes=99)

train_pipeline = [
    dict(type='Flip', flip_ratio=0.5) if step['type'] == 'SelectiveFlip' else step
    for step in _base_.train_pipeline
]

train_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}gym99_train_list_{_base_.kind}.txt',
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(**dataset, ann_file=f'{data_root}gym99_val_list_{_base_.kind}.txt')
)
test_dataloader = val_dataloader
