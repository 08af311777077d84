# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Heads that mmaction2 lacks."""
