# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Shared parts of the blocks: base classes, norms, and building from configs."""
