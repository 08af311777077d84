_base_ = './sgd_cosine_30e.py'

# Supplement A, FineGym: 40 epochs, otherwise as Diving-48.
train_cfg = dict(max_epochs=40)
