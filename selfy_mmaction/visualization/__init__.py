# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Pictures of what a block sees in a video."""
