_base_ = '../selfy-tsn-r18_8xb8-1x1x8-50e_sthv1-rgb.py'

model = dict(
    backbone=dict(
        selfy=dict(
            block=dict(
                _delete_=True,
                type='ParallelBlocks',
                blocks=[dict(type='SELFYSBlock'), dict(type='STCB')],
            )
        )
    )
)
