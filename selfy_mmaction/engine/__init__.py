# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Runner hooks, checks and operation counts, registered in mmaction2 and mmengine."""

from .checkpoint_check_hook import CheckpointCheckHook, check_loaded_blocks
from .class_check_hook import ClassCheckHook
from .clip_length_check_hook import ClipLengthCheckHook
from .complexity import register_flop_count
from .crop_check_hook import CropCheckHook
from .exact_resume_hook import ExactResumeHook
from .inference_check import check_inference
from .schedule_check_hook import ScheduleCheckHook
from .work_dir_lock_hook import WorkDirLockHook

register_flop_count()
check_loaded_blocks()
check_inference()

__all__ = [
    'CheckpointCheckHook',
    'ClassCheckHook',
    'ClipLengthCheckHook',
    'CropCheckHook',
    'ExactResumeHook',
    'ScheduleCheckHook',
    'WorkDirLockHook',
]
