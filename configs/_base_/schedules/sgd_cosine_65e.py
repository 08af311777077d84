_base_ = './sgd_cosine_30e.py'

# Supplement B, Kinetics-400: 65 epochs, otherwise as Diving-48.
train_cfg = dict(max_epochs=65)
