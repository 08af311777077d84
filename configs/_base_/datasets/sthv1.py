_base_ = './sthv2.py'

# The official download of V1 is frames, 00001.jpg and on.
data_root = 'data/sthv1/'

train_pipeline = [
    _base_.train_pipeline[1],
    dict(type='RawFrameDecode'),
    *_base_.train_pipeline[3:6],
    dict(type='SelectiveFlip', class_names=data_root + 'classes.txt'),
    *_base_.train_pipeline[7:],
]
val_pipeline = [
    _base_.val_pipeline[1],
    dict(type='RawFrameDecode'),
    *_base_.val_pipeline[3:],
]
test_pipeline = val_pipeline

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='RawframeDataset',
        ann_file=data_root + 'sthv1_train_list_rawframes.txt',
        data_prefix=dict(img=data_root + 'rawframes'),
        filename_tmpl='{:05}.jpg',
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='RawframeDataset',
        ann_file=data_root + 'sthv1_val_list_rawframes.txt',
        data_prefix=dict(img=data_root + 'rawframes'),
        filename_tmpl='{:05}.jpg',
        pipeline=val_pipeline,
        test_mode=True,
    )
)
test_dataloader = val_dataloader
