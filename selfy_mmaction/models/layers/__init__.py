# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""What the blocks share: layers, norms, and how modules are built."""
