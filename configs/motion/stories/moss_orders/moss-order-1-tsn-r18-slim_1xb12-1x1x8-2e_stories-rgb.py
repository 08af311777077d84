_base_ = '../selfy-tsn-r18-slim_1xb12-1x1x8-2e_stories-rgb.py'

# Widths in the proportions of MOSS's, for the slim network.
__encoder = dict(
    reduced_channels=32,
    extraction=dict(channels=(16,)),
    integration=dict(channels=(16, 16, 32)),
)
__block = dict(
    _delete_=True, type='MOSSBlock', orders=(1,), window=(5, 5), encoder=__encoder
)
model = dict(backbone=dict(selfy=dict(block=__block)))
