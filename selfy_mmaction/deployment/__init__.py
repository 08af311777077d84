# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Export and streaming of trained networks."""
