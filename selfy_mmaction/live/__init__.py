# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Recognition in live video, with bounded memory and latency."""
