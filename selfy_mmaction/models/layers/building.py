# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Build blocks and steps from configs, with errors that name the option."""

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
    """mmengine's ``BaseModule`` that checks ``init_cfg`` on construction.

    Args:
        init_cfg: Initialization config, or a list of configs. Default: None.

    Raises:
        ValueError: If ``init_cfg`` is not a config or a list of configs.
    """

    def __init__(self, init_cfg: Config | list[Config] | None = None) -> None:
        configs = init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]
        if init_cfg is not None and not (
            configs
            and all(isinstance(cfg, Mapping) and cfg.get('type') for cfg in configs)
        ):
            raise ValueError(
                "init_cfg must be None, a config such as dict(type='Kaiming', ...), or "
                f'a list of configs, but got {init_cfg!r}'
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
    """Build a block or a step of a block.

    Args:
        option: Name of the option that holds the config, for error messages.
        cfg: Config of the module. None means an empty config.
        default_type: Type to build if the config has no type. Default: None, which
            makes the type mandatory.
        decided: Arguments fixed by the caller; the config cannot change them.
            Default: None.
        attributes: Attributes that the module must have. Default: ().
        defaults: Arguments to use if the config does not set them. Of these and of
            ``decided``, only those accepted by the module, or by a base class that it
            forwards them to, are passed.

    Returns:
        The module.

    Raises:
        ValueError: If ``cfg`` is not a config, its type or an argument is unknown, an
            argument is missing or contradicts ``decided``, or the module lacks one of
            ``attributes``.
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
                f'{option} has {name}={value!r}, but the enclosing module requires '
                f'{name}={decided[name]!r}; remove {name} from {option}'
            )
    defaults = {
        name: value for name, value in {**decided, **defaults}.items() if name in known
    }
    arguments = {k: v for k, v in cfg.items() if k not in ('type', '_scope_')}
    try:
        inspect.signature(factory).bind(**{**defaults, **arguments})
    except TypeError as error:
        raise ValueError(f'{what}, which cannot be built here: {error}') from error
    # Pass the class, not its name: under the default scope of another library, mmengine
    # would look up the name there.
    module = MODELS.build({**cfg, 'type': factory}, default_args=defaults)
    for name in attributes:
        if not hasattr(module, name):
            raise ValueError(
                f'{what}, which lacks the attribute {name!r} required here; is it the '
                'right kind of module?'
            )
    return module


def check_config(option: str, cfg: Config | None) -> Config:
    """Check that an option is a config.

    Args:
        option: Name of the option.
        cfg: Value of the option.

    Returns:
        A copy of the config, empty for None.

    Raises:
        ValueError: If ``cfg`` is neither None nor a config.
    """
    if cfg is None:
        return {}
    if not isinstance(cfg, Mapping) or not all(isinstance(name, str) for name in cfg):
        raise ValueError(
            f"{option} must be None or a config such as dict(type='...'), but got "
            f'{cfg!r}'
        )
    # ConfigDict.copy() returns a ConfigDict.
    return cfg.copy() if hasattr(cfg, 'copy') else dict(cfg)


def completed(option: str, cfg: Config | None, default: Config) -> Config:
    """Fill in what a config of the default type leaves open.

    Args:
        option: Name of the option that holds the config, for error messages.
        cfg: Config of a module. None means an empty config.
        default: Config with the default type. Its other arguments do not apply to a
            ``cfg`` of another type.

    Returns:
        The complete config.

    Raises:
        ValueError: If ``cfg`` is neither None nor a config.
    """
    cfg = check_config(option, cfg)
    is_default = cfg.get('type', default['type']) == default['type']
    return {**default, **cfg} if is_default else cfg


def find_type(option: str, kind: Any) -> Callable[..., nn.Module]:
    """Find the class or function that a config's type refers to.

    Args:
        option: Name of the option that holds the config, for error messages.
        kind: Type of the config: a registered name, a class or a function.

    Returns:
        The class or function.

    Raises:
        ValueError: If the type is not registered.
    """
    if callable(kind):
        return kind
    found = MODELS.get(kind) if isinstance(kind, str) and kind else None
    if found is None:
        names = {*MODELS.module_dict, *MODELS.root.module_dict}
        raise ValueError(
            f'{option} must have the type of a registered module, but got type='
            f'{kind!r}{_nearest(kind, names)}; import your own modules with '
            'custom_imports in the config'
        )
    return found


def _arguments(factory: Callable[..., nn.Module]) -> tuple[set[str], bool]:
    """Return the argument names and whether the list is complete.

    ``**kwargs`` of a class are taken to be the arguments of its base class. With
    ``**kwargs``, a direct subclass of ``BaseModule`` may accept any argument.
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
