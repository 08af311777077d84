# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""SELFY (ICCV 2021) as a plugin of mmaction2.

Importing this package closes the gaps between mmaction2 and today's torch and
numpy (see ``selfy_mmaction.compat``), then registers the models and the data
transforms. In a config::

    custom_imports = dict(imports=['selfy_mmaction'], allow_failed_imports=False)
"""

import sys
import warnings

from .version import __version__

__all__ = ['__version__']

# `python -m selfy_mmaction.doctor` imports this package before it runs. It is
# there for installs on which the imports below fail: it does them itself, one by
# one, and says which one fails and how to mend it. While the parents of a `-m`
# module are imported, argv[0] is '-m' and only orig_argv knows its name.
_doctor_starts = sys.argv[0] == '-m' and any(
    arg.endswith('selfy_mmaction.doctor') for arg in sys.orig_argv
)

if not _doctor_starts:
    from .compat import close_gaps

    with warnings.catch_warnings():
        # mmcv-lite warns of operators that nothing here or in a recognizer needs.
        warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDef')
        # First: the subpackages below import mmaction.models.
        close_gaps()

        from selfy_mmaction import datasets, engine, models  # noqa: F401
