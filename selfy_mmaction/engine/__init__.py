# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Hooks of the runner and counts for its tools, registered in the host."""

from .clip_length_check_hook import ClipLengthCheckHook
from .complexity import register_flop_count
from .exact_resume_hook import ExactResumeHook
from .schedule_check_hook import ScheduleCheckHook
from .work_dir_lock_hook import WorkDirLockHook

register_flop_count()

__all__ = [
    'ClipLengthCheckHook',
    'ExactResumeHook',
    'ScheduleCheckHook',
    'WorkDirLockHook',
]
