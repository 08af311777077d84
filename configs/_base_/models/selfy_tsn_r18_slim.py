_base_ = ['./tsn_r18_slim.py', './selfy_slim_block.py']

model = dict(backbone=dict(selfy=dict(after='res3', block=_base_.pop('block'))))
