# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Evaluation of networks: ensembles, robustness and efficiency."""
