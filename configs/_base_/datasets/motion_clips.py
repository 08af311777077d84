_base_ = './motion.py'

# The same frames for networks of clips: 8 clips of one frame become one of 8.
one_clip = [
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='Transpose', keys=['imgs'], order=(2, 1, 0, 3, 4)),
]
train_pipeline = [
    *_base_.train_pipeline[:-2],
    *one_clip,
    _base_.train_pipeline[-1],
]
val_pipeline = [*_base_.val_pipeline[:-2], *one_clip, _base_.val_pipeline[-1]]
test_pipeline = val_pipeline  # also what inference_recognizer reads

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
