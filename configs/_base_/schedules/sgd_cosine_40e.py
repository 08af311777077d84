_base_ = './sgd_cosine_30e.py'

# Supplement A, FineGym: 40 epochs, otherwise as Diving-48.
train_cfg = dict(max_epochs=40)
warm_up, cosine = _base_.param_scheduler
param_scheduler = [warm_up, dict(cosine, T_max=30, end=40)]
