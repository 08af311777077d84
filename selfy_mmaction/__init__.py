# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""SELFY (ICCV 2021) as a plugin for mmaction2.

Importing this package applies workarounds that let mmaction2 run on current torch and
numpy (see ``selfy_mmaction.compat``), then registers the models, data transforms and
hooks. In a config::

    custom_imports = dict(imports=['selfy_mmaction'], allow_failed_imports=False)
"""

import sys

from .version import __version__

__all__ = ['__version__']

# `python -m selfy_mmaction.doctor` imports this package before it runs. It diagnoses
# installs on which the imports below fail, so it does them itself, one by one. While
# Python imports the parents of a `-m` module, argv[0] is '-m' and only orig_argv has
# the module's name.
_doctor_starts = sys.argv[0] == '-m' and any(
    arg.endswith('selfy_mmaction.doctor') for arg in sys.orig_argv
)

if not _doctor_starts:
    from .compat import apply_workarounds

    # Must come first: the subpackages below import mmaction.models.
    apply_workarounds()

    from selfy_mmaction import (  # noqa: F401
        checkpoints,
        datasets,
        deployment,
        engine,
        models,
    )
