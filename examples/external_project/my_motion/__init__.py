# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""An extraction and a block that are not part of selfy_mmaction.

Importing this package registers them. It imports ``selfy_mmaction``, too, so that
``custom_imports = dict(imports=['my_motion'])`` is enough in a config.
"""

# First: it applies workarounds without which mmaction2's models cannot be imported.
import selfy_mmaction  # noqa: F401

from .frame_difference_block import FrameDifferenceBlock
from .moment_extraction import MomentExtraction

__all__ = ['FrameDifferenceBlock', 'MomentExtraction']
