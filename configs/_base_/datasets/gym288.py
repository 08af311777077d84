_base_ = './gym99.py'

data_root = 'data/gym/'
train_dataloader = dict(
    dataset=dict(num_classes=288, ann_file=data_root + 'gym288_train_list_videos.txt')
)
val_dataloader = dict(
    dataset=dict(num_classes=288, ann_file=data_root + 'gym288_val_list_videos.txt')
)
test_dataloader = val_dataloader
