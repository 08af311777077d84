_base_ = './sthv2_16f.py'

# Supplement A: two clips for testing, flips for every class. The paper's 41.6 is on the
# first version of the labels (V1), which the lists must be made from.
data_root = 'data/diving48/'
dataset = dict(data_prefix={_base_.prefix: data_root + _base_.kind}, num_classes=48)

train_pipeline = [
    dict(type='Flip', flip_ratio=0.5) if step['type'] == 'SelectiveFlip' else step
    for step in _base_.train_pipeline
]
test_pipeline = [
    dict(step, twice_sample=True) if step['type'] == 'SampleFrames' else step
    for step in _base_.val_pipeline
]

train_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}diving48_v1_train_list_{_base_.kind}.txt',
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        **dataset, ann_file=f'{data_root}diving48_v1_val_list_{_base_.kind}.txt'
    )
)
test_dataloader = dict(
    dataset=dict(
        **dataset,
        ann_file=f'{data_root}diving48_v1_val_list_{_base_.kind}.txt',
        pipeline=test_pipeline,
    )
)
