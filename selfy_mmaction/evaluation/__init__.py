# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Evaluation of trained networks: ensembles and robustness."""
