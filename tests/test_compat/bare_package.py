# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Make ``selfy_mmaction.compat`` importable without applying any workaround.

For scripts that show a symptom: importing the real package applies all workarounds.
"""

import sys
from importlib.util import find_spec
from types import ModuleType

_package = ModuleType('selfy_mmaction')
_package.__path__ = find_spec('selfy_mmaction').submodule_search_locations
sys.modules['selfy_mmaction'] = _package
