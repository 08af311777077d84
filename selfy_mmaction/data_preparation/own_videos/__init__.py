# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Lists of a user's own videos, from folders of classes or a table of labels."""

from .preparing import prepare_own_videos
from .report import show_own_videos

__all__ = ['prepare_own_videos', 'show_own_videos']
