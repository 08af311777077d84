# Additions to an mmaction2 recipe for blocks of this package. The hooks are those of
# default_runtime.py.
custom_imports = dict(imports=['selfy_mmaction'], allow_failed_imports=False)
custom_hooks = [
    dict(type='ClipLengthCheckHook'),
    dict(type='ClassCheckHook'),
    dict(type='CropCheckHook'),
    dict(type='CheckpointCheckHook'),
    dict(type='ScheduleCheckHook'),
    dict(type='WorkDirLockHook'),
    dict(type='ExactResumeHook'),
]
