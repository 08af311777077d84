# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Conversion of official checkpoints."""
