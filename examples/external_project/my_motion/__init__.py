# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Custom extraction and custom block, defined outside of selfy_mmaction.

Importing this package registers them. It also imports ``selfy_mmaction``, so a config
needs only ``custom_imports = dict(imports=['my_motion'])``.
"""

# Must come first: its workarounds make mmaction2's models importable.
import selfy_mmaction  # noqa: F401

from .frame_difference_block import FrameDifferenceBlock
from .moment_extraction import MomentExtraction

__all__ = ['FrameDifferenceBlock', 'MomentExtraction']
