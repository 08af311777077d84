# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Blocks in any network: insertion, its host, layouts, probe and cost."""
