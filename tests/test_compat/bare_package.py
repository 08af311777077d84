# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Makes ``selfy_mmaction.compat`` importable without closing any gap.

For scripts that show a gap before it is closed: importing the real package closes
them all.
"""

import sys
from importlib.util import find_spec
from types import ModuleType

_package = ModuleType('selfy_mmaction')
_package.__path__ = find_spec('selfy_mmaction').submodule_search_locations
sys.modules['selfy_mmaction'] = _package
