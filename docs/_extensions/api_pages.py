# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Write ``docs/api/``: a page per package with everything public or registered."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from mmaction.utils import register_all_modules
from mmengine import registry as registries
from mmengine.registry import Registry
from sphinx.application import Sphinx

import selfy_mmaction

# Packages whose names users import, in the order of the data flow.
PACKAGES = {
    'ops': 'Functions on tensors: the STSS transformation of Eq. 1',
    'models': 'Blocks, steps, backbones and their insertion into networks',
    'datasets': 'Datasets, samplers and transforms',
    'engine': 'Hooks that check a run before it starts, and resume it',
    'checkpoints': 'Packaged networks and official checkpoints',
    'inference': 'Predictions for videos, windows and cameras',
    'deployment': 'Exported networks',
    'motion_benchmark': 'The generated benchmark',
    'data_preparation': 'Lists of the official downloads',
}
# Parts of the names of modules, in the order of the data flow; others follow.
ORDER = (
    *(f'selfy.{step}' for step in ('block', 'reduction', 'transformation')),
    *(f'selfy.{step}' for step in ('extraction', 'soft_argmax', 'integration')),
    *('selfy.restoration', 'selfy.fusion', 'comparators', 'moss', 'insertion'),
    *('backbones', 'neck', 'heads'),
)
INDEX = """\
API reference
=============

Written from the docstrings. Registered names work as ``type`` in a config, after
``import selfy_mmaction`` or with our ``custom_imports``.

.. toctree::
   :maxdepth: 1

{entries}
Registered
----------

.. list-table::
   :header-rows: 1

   * - name
     - registry
     - what it is"""


def import_all() -> None:
    """Import every module of the package, and so register everything."""
    register_all_modules(init_default_scope=False)
    for module in pkgutil.walk_packages(selfy_mmaction.__path__, 'selfy_mmaction.'):
        if not module.name.endswith(('__main__', 'triton_kernels', 'triton_backend')):
            importlib.import_module(module.name)


def registered() -> Iterator[tuple[str, type]]:
    """Yield (registry, class) of all classes that this package registers."""
    seen = set()
    for root in vars(registries).values():
        if not isinstance(root, Registry):
            continue
        for registry in (root, *root.children.values()):
            for found in registry.module_dict.values():
                if inspect.isclass(found) and found not in seen and is_ours(found):
                    seen.add(found)
                    yield registry.name, found


def is_ours(found: Any) -> bool:
    """Check whether an object is defined in this package, not as a workaround."""
    module = getattr(found, '__module__', '')
    return module.startswith('selfy_mmaction.') and '.compat.' not in module


def members(package: str) -> dict[ModuleType, list[str]]:
    """Group what a package exports or registers by the module that defines it.

    Returns:
        Full names by module, in the order of the data flow and of the file. The full
        name is the one to import from: the package's, if it exports the object.
    """
    module = importlib.import_module(f'selfy_mmaction.{package}')
    objects = [getattr(module, name) for name in module.__all__]
    exported = {id(found) for found in objects}
    of_package = f'{module.__name__}.'
    objects += [c for _, c in registered() if c.__module__.startswith(of_package)]
    unique = {id(x): x for x in objects if inspect.isclass(x) or inspect.isfunction(x)}
    grouped: dict[ModuleType, list[str]] = {}
    for found in sorted(unique.values(), key=place_of):
        home = module.__name__ if id(found) in exported else found.__module__
        names = grouped.setdefault(importlib.import_module(found.__module__), [])
        names.append(f'{home}.{found.__name__}')
    return grouped


def place_of(found: Any) -> tuple[int, str, int]:
    """Sort by :data:`ORDER`, then by module, then by line."""
    room = next(
        (i for i, part in enumerate(ORDER) if f'.{part}' in found.__module__),
        len(ORDER),
    )
    return room, found.__module__, inspect.getsourcelines(found)[1]


def page(package: str, title: str) -> str:
    """Write the reStructuredText of a page."""
    name = f'selfy_mmaction.{package}'
    lines = [name, '=' * len(name), '', f'{title}.', '']
    for module, names in members(package).items():
        heading = summary(module).rstrip('.')
        file = f'{module.__name__.replace(".", "/")}.py'
        lines += [heading, '-' * len(heading), '', f'``{file}``', '']
        for each in names:
            is_class = inspect.isclass(getattr(module, each.rpartition('.')[2]))
            lines += [f'.. auto{"class" if is_class else "function"}:: {each}', '']
    return '\n'.join(lines)


def summary(documented: Any) -> str:
    """Return the first paragraph of a docstring on one line."""
    text = inspect.getdoc(documented) or documented.__name__
    return ' '.join(text.split('\n\n')[0].split())


def index() -> str:
    """Write the reStructuredText of the first page."""
    entries = ''.join(f'   {package}\n' for package in PACKAGES)
    lines = [INDEX.format(entries=entries)]
    full = {
        (module.__name__, name.rpartition('.')[2]): name
        for package in PACKAGES
        for module, names in members(package).items()
        for name in names
    }
    for registry, found in sorted(registered(), key=lambda x: (x[0], x[1].__name__)):
        name = full[found.__module__, found.__name__]
        reference = f':class:`~{name}`'
        lines += [
            f'   * - {reference}',
            f'     - {registry}',
            f'     - {summary(found)}',
        ]
    return '\n'.join(lines) + '\n'


def write_pages(app: Sphinx) -> None:
    """Write the pages; unchanged ones keep their time, so they are not built again."""
    import_all()
    folder = Path(app.srcdir) / 'api'
    folder.mkdir(exist_ok=True)
    texts = {name: page(name, title) for name, title in PACKAGES.items()}
    texts['index'] = index()
    for name, text in texts.items():
        path = folder / f'{name}.rst'
        if not path.exists() or path.read_text(encoding='utf-8') != text:
            path.write_text(text, encoding='utf-8')


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the writer."""
    app.connect('builder-inited', write_pages)
    return dict(version='1', parallel_read_safe=True, parallel_write_safe=True)
