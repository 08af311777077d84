# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
from .selective_flip import SelectiveFlip

__all__ = ['SelectiveFlip']
