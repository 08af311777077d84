_base_ = '../selfy-tsm-r18-slim_1xb12-1x1x8-2e_stories-rgb.py'

model = dict(
    backbone=dict(
        selfy=dict(
            block=dict(
                _delete_=True,
                type='LocalSelfAttentionBlock',
                window=(5, 5, 5),
                reduced_channels=32,
                num_heads=4,
            )
        )
    )
)
