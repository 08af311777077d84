# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Hooks of the runner, registered in mmaction2's registries."""

from .clip_length_check_hook import ClipLengthCheckHook

__all__ = ['ClipLengthCheckHook']
