# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Blocks that the paper compares SELFY with (Sections 4.5 and 4.6)."""
