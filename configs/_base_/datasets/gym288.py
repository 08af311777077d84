_base_ = './gym99.py'

data_root = 'data/gym/'
train_dataloader = dict(
    dataset=dict(
        num_classes=288,
        ann_file=f'{data_root}gym288_train_list_{_base_.kind}.txt',
    )
)
val_dataloader = dict(
    dataset=dict(
        num_classes=288,
        ann_file=f'{data_root}gym288_val_list_{_base_.kind}.txt',
    )
)
test_dataloader = val_dataloader
