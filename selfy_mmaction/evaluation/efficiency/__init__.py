# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Cost of networks: multiply-adds, parameters, training memory and time."""
