# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The SELFY block (Section 3.2): one file per step, in the order data flows."""
