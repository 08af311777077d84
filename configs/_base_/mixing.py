# What a recipe of mmaction2 needs to be used with blocks of this package.
custom_imports = dict(imports=['selfy_mmaction'], allow_failed_imports=False)
custom_hooks = [
    dict(type='ClipLengthCheckHook'),
    dict(type='ClassCheckHook'),
    dict(type='CheckpointCheckHook'),
    dict(type='ScheduleCheckHook'),
    dict(type='WorkDirLockHook'),
    dict(type='ExactResumeHook'),
]
