# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""mmengine resolves ``package::`` configs only for OpenMMLab's packages."""

from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.hub import hub
from mmengine.utils import check_file_exist

from . import wrap_once

_MODULE = 'selfy_mmaction'
_PACKAGE = Path(__file__).resolve().parents[1]


def find_configs(package: Path) -> Path:
    """Find the configs that belong to a folder of this package.

    In a checkout they are next to the package, which has no ``.mim`` if it is only on
    PYTHONPATH, and an outdated copy in ``.mim`` if links cannot be created.

    Args:
        package: Folder of the package, in a checkout or installed.

    Returns:
        Folder of the configs.
    """
    checkout = package.parent
    if (checkout / 'model-index.yml').is_file():
        return checkout / 'configs'
    return package / '.mim' / 'configs'


_CONFIGS = find_configs(_PACKAGE)


def apply_package_configs() -> bool:
    """Make ``selfy_mmaction::`` resolve to the configs of this package.

    mmengine resolves ``_base_`` before it runs ``custom_imports``, so a config with
    such a base requires this package to be imported first, which ``python -m
    selfy_mmaction.run`` does.

    Symptom: ``AssertionError: mmengine does not support to load selfy_mmaction
    config.``

    Upstream: not reported.

    Delete when: the oldest supported mmengine resolves ``package::`` for every
    importable package, editable installs included.
    """
    if _MODULE in MODULE2PACKAGE:
        return False
    # For mmengine.hub. Use the module's name rather than the distribution's
    # (selfy-mmaction): pkg_resources accepts either, but only the former is found if
    # the package is on PYTHONPATH and not installed.
    MODULE2PACKAGE[_MODULE] = _MODULE
    # mmengine.hub would look for .mim in site-packages, too.
    wrap_once(hub, 'get_installed_path', _with_own_path)
    return wrap_once(Config, '_get_cfg_path', _with_own_configs)


# `_base_` needs more than the entry above: for an editable install mmengine looks in
# site-packages, which has only the metadata, and it builds what a base defines in the
# scope of the package's name, but our modules are in mmaction2's registries.
def _with_own_configs(
    get_cfg_path: Callable, cfg_path: str, filename: str
) -> tuple[str, str | None]:
    package, separator, config = cfg_path.partition('::')
    if not separator or package != _MODULE:
        return get_cfg_path(cfg_path, filename)
    path = _CONFIGS / config
    check_file_exist(str(path))
    return str(path), 'mmaction'


def _with_own_path(get_installed_path: Callable, package: str) -> str:
    if package != _MODULE:
        return get_installed_path(package)
    if not (_PACKAGE / '.mim').is_dir():
        raise FileNotFoundError(
            f'mmengine.hub needs {_PACKAGE / ".mim"}, which only an installation '
            f'creates. Install the checkout: pip install -e {_PACKAGE.parent}'
        )
    return str(_PACKAGE)
