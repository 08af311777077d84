# A recipe of selfy_mmaction with a custom extraction.
_base_ = (
    __import__('selfy_mmaction').__name__  # see _base_/tsm-mobilenet-v2_motion.py
    + '::motion/selfy-tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py'
)

custom_imports = dict(imports=['my_motion'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        selfy=dict(
            block=dict(
                # Without _delete_, the options of the old extraction would remain.
                extraction=dict(_delete_=True, type='MomentExtraction', out_channels=16)
            )
        )
    )
)
