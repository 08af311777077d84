# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Checkpoints of other code."""
