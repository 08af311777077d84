_base_ = './motion.py'

data_root = 'data/motion-stories/'

model = dict(cls_head=dict(num_classes=24))
train_dataloader = dict(
    dataset=dict(
        ann_file=data_root + 'train.txt',
        data_prefix=dict(video=data_root + 'videos'),
        num_classes=24,
    )
)
val_dataloader = dict(
    dataset=dict(
        ann_file=data_root + 'val.txt',
        data_prefix=dict(video=data_root + 'videos'),
        num_classes=24,
    )
)
test_dataloader = val_dataloader
