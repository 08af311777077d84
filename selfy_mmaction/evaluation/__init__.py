# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What is done with trained networks: ensembles, robustness."""
