_base_ = './sthv2.py'

# The official download of V1 is frames, 00001.jpg and on; they are read unless
# SELFY_DECODER names a decoder.
data_root = 'data/sthv1/'
kind = 'rawframes' if '{{$SELFY_DECODER:RawFrame}}' == 'RawFrame' else 'videos'
prefix = dict(videos='video', rawframes='img')[kind]
dataset = dict(
    videos=dict(type='CheckedVideoDataset'),
    rawframes=dict(type='CheckedRawframeDataset', filename_tmpl='{:05}.jpg'),
)[kind]

train_pipeline, val_pipeline = (
    [
        {
            'DecordDecode': dict(type='{{$SELFY_DECODER:RawFrame}}Decode'),
            'SelectiveFlip': dict(
                type='SelectiveFlip', class_names=data_root + 'classes.txt'
            ),
        }.get(step['type'], step)
        for step in pipeline
        if kind == 'videos' or step['type'] != 'DecordInit'
    ]
    for pipeline in (_base_.train_pipeline, _base_.val_pipeline)
)
test_pipeline = val_pipeline

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        **dataset,
        ann_file=f'{data_root}sthv1_train_list_{kind}.txt',
        data_prefix={prefix: data_root + kind},
        num_classes=174,
        on_unreadable='fail',
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        **dataset,
        ann_file=f'{data_root}sthv1_val_list_{kind}.txt',
        data_prefix={prefix: data_root + kind},
        num_classes=174,
        pipeline=val_pipeline,
        test_mode=True,
    )
)
test_dataloader = val_dataloader
