# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Building blocks and steps from configs, with errors that name the option."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import nn

from selfy_mmaction.ops import check_offsets, check_window

Config = dict[str, Any]

_AS_STORED: dict[str, Callable[[Any], Any]] = {
    'offsets': check_offsets,
    'window': check_window,
}


class Module(BaseModule):
    """mmengine's module, which checks its ``init_cfg`` when it is built.

    Args:
        init_cfg: Initialization config, or a list of them. Default: None.

    Raises:
        ValueError: Anything else.
    """

    def __init__(self, init_cfg: Config | list[Config] | None = None) -> None:
        configs = init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]
        if init_cfg is not None and not (
            configs
            and all(isinstance(cfg, Mapping) and cfg.get('type') for cfg in configs)
        ):
            raise ValueError(
                "init_cfg must be None, dict(type='Kaiming', ...) or a list of such, "
                f'but got {init_cfg!r}'
            )
        super().__init__(init_cfg=init_cfg)


def build(
    option: str,
    cfg: Config | None,
    default_type: str | None = None,
    decided: Mapping[str, Any] | None = None,
    attributes: Sequence[str] = (),
    **defaults: Any,
) -> Any:
    """Build a block, or a step of one.

    Args:
        option: Name of the option that holds the config, for the errors.
        cfg: Config of the module. None stands for an empty one.
        default_type: What is built where the config names no type. Default: None, it
            has to.
        decided: Arguments that are not the config's to choose, since what stands
            around the module has chosen already. Default: none.
        attributes: What the module has to have. Default: nothing.
        defaults: Arguments for what the config leaves out. Of these and ``decided``
            those are given that the module, or a base it passes them to, takes.

    Returns:
        The module.

    Raises:
        ValueError: No config, an unknown type or argument, an argument that is missing
            or differs from the one ``decided``, or a module of another kind.
    """
    cfg = check_config(option, cfg)
    cfg.setdefault('type', default_type)
    factory = find_type(option, cfg['type'])
    known, is_complete = _arguments(factory)
    what = f'{option} is a {getattr(factory, "__name__", factory)}'
    decided = decided or {}
    for name, value in cfg.items():
        if is_complete and name not in {*known, 'type', '_scope_'}:
            raise ValueError(
                f'{what}, which has no argument {name!r}{_nearest(name, known)}'
            )
        as_stored = _AS_STORED.get(name, lambda value: value)
        if name in decided and as_stored(value) != as_stored(decided[name]):
            raise ValueError(
                f'{option} has {name}={value!r}, but what stands around it has '
                f'{name}={decided[name]!r}; leave it out of {option}'
            )
    defaults = {
        name: value for name, value in {**decided, **defaults}.items() if name in known
    }
    arguments = {k: v for k, v in cfg.items() if k not in ('type', '_scope_')}
    try:
        inspect.signature(factory).bind(**{**defaults, **arguments})
    except TypeError as error:
        raise ValueError(f'{what}, which this place cannot build: {error}') from error
    # The class, not its name: under another library's default scope mmengine would look
    # the name up in that library.
    module = MODELS.build({**cfg, 'type': factory}, default_args=defaults)
    for name in attributes:
        if not hasattr(module, name):
            raise ValueError(
                f'{what}, which has no attribute {name!r}, as this place needs it; '
                'is it a module of this kind?'
            )
    return module


def check_config(option: str, cfg: Config | None) -> Config:
    """Check that an option is a config.

    Args:
        option: Its name.
        cfg: Its value.

    Returns:
        A copy, empty for None.

    Raises:
        ValueError: Something else.
    """
    if cfg is None:
        return {}
    if not isinstance(cfg, Mapping) or not all(isinstance(name, str) for name in cfg):
        raise ValueError(
            f"{option} must be None or a config such as dict(type='...'), but got "
            f'{cfg!r}'
        )
    # A copy of a mmengine.ConfigDict is one.
    return cfg.copy() if hasattr(cfg, 'copy') else dict(cfg)


def find_type(option: str, kind: Any) -> Callable[..., nn.Module]:
    """Find the class, or function, of a type.

    Args:
        option: Name of the option that holds the config, for the error.
        kind: The config's type: a registered name, a class or a function.

    Returns:
        The class or function.

    Raises:
        ValueError: No such type.
    """
    if callable(kind):
        return kind
    found = MODELS.get(kind) if isinstance(kind, str) and kind else None
    if found is None:
        names = {*MODELS.module_dict, *MODELS.root.module_dict}
        raise ValueError(
            f'{option} must have the type of a registered module, but got type='
            f'{kind!r}{_nearest(kind, names)}; a module of your own has to be '
            'imported, in a config by custom_imports'
        )
    return found


def _arguments(factory: Callable[..., nn.Module]) -> tuple[set[str], bool]:
    """Names of the arguments, and whether there are no others.

    Where a class takes ``**kwargs``, they are the arguments of its base. A class right
    on top of ``BaseModule`` may take anything.
    """
    names, takes_kwargs = set(), False
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for base in inspect.getmro(factory) if inspect.isclass(factory) else (factory,):
        function: Callable[..., Any] = base
        if inspect.isclass(base):
            if '__init__' not in vars(base):
                continue
            function = base.__init__
        is_end = base in (Module, BaseModule, nn.Module)
        parameters = inspect.signature(function).parameters.values()
        names |= {p.name for p in parameters if p.kind not in variable} - {'self'}
        if is_end or not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return names, not (is_end and takes_kwargs)
        takes_kwargs = True
    return names, False


def _nearest(name: Any, names: set[str]) -> str:
    matches = get_close_matches(str(name), sorted(names), n=3, cutoff=0.5)
    return f'; the nearest names are {matches}' * bool(matches)
