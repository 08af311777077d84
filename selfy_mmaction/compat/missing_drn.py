# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmaction2's wheel and sdist lack ``mmaction.models.localizers.drn``."""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

_PACKAGE = 'mmaction.models.localizers.drn'
_MODULE = f'{_PACKAGE}.drn'


def apply_missing_drn() -> bool:
    """Make ``import mmaction.models`` succeed without the DRN localizer.

    Symptom: ``ModuleNotFoundError: No module named
    'mmaction.models.localizers.drn'`` from ``import mmaction.models``.

    Upstream: mmaction2 issue 2714, unmerged fix 2721. The wheel lacks the folder
    because it has no ``__init__.py``.

    Delete when: the oldest supported mmaction2 ships the folder.

    Raises:
        ModuleNotFoundError: If mmaction2 is not installed.
    """
    if any(isinstance(finder, _DRNStubFinder) for finder in sys.meta_path):
        return False
    if not _drn_is_missing():
        return False
    # Last, so that a drn folder that is added later takes precedence.
    sys.meta_path.append(_DRNStubFinder())
    return True


def _drn_is_missing() -> bool:
    # Look at the folders only: find_spec on the full name would import its parents,
    # and importing mmaction.models is what fails.
    spec = find_spec('mmaction')
    if spec is None:
        raise ModuleNotFoundError(
            "mmaction2 is not installed. Install it: pip install 'mmaction2>=1.2.0'"
        )
    localizers = [
        str(Path(folder, 'models', 'localizers'))
        for folder in spec.submodule_search_locations
    ]
    return PathFinder.find_spec(_PACKAGE, localizers) is None


class _DRNStubFinder:
    """Finder and loader for the two stub modules."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname not in (_PACKAGE, _MODULE):
            return None
        return ModuleSpec(fullname, self, is_package=fullname == _PACKAGE)

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ == _MODULE:
            module.DRN = _registered_stub()


def _registered_stub() -> type:
    from mmaction.registry import MODELS

    # Registered like the real class, so that a config with type='DRN' raises the
    # error below and not "DRN is not in the registry".
    @MODELS.register_module(name='DRN', force=True)
    class DRN:
        """Stub for the localizer that the mmaction2 wheel lacks."""

        def __init__(self, *args, **kwargs) -> None:
            raise ImportError(
                'DRN cannot be built: the installed mmaction2 lacks '
                f'{_PACKAGE} (mmaction2 issue 2714). Install mmaction2 from a '
                'git checkout to use this localizer.'
            )

    return DRN
