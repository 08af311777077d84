# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Self-similarity of higher orders: MOSS and RLDX-1's motion module."""
