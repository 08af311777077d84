# mmaction2's TSM-MobileNetV2 on selfy_mmaction's motion benchmark, without a block.
_base_ = [
    'mmaction::_base_/models/tsm_mobilenet_v2.py',
    # mmengine reads bases before custom_imports and resolves the `selfy_mmaction::`
    # prefix only after the package is imported. Once per list is enough.
    __import__('selfy_mmaction').__name__ + '::_base_/datasets/motion.py',
    'selfy_mmaction::_base_/schedules/adamw_6e.py',
    'selfy_mmaction::_base_/default_runtime.py',
]

# Replaces the list of default_runtime.py, as lists in configs are not merged. my_motion
# imports selfy_mmaction itself.
custom_imports = dict(imports=['my_motion'], allow_failed_imports=False)

model = dict(
    backbone=dict(pretrained=None, pretrained2d=False),  # nothing to download
    cls_head=dict(num_classes=12),
)
