# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Insertion of blocks into any network: hosts, feature layouts, probing and cost."""
