# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Version of the package."""

__version__ = '0.2.0'
