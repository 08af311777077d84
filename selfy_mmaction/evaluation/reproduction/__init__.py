# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Reruns of the paper's tables on the generated benchmark."""
