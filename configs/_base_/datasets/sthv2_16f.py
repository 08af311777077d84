_base_ = './sthv2.py'

# The same pipelines with 16 segments.
train_pipeline, val_pipeline = (
    [
        dict(step, num_clips=16) if step['type'] == 'SampleFrames' else step
        for step in pipeline
    ]
    for pipeline in (_base_.train_pipeline, _base_.val_pipeline)
)
test_pipeline = val_pipeline

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
