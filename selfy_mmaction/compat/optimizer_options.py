# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Optimizer constructors ignore unknown options."""

import difflib
import logging
from collections.abc import Callable, Iterable
from typing import Any

from mmaction.engine.optimizers import (
    LearningRateDecayOptimizerConstructor,
    SwinOptimWrapperConstructor,
    TSMOptimWrapperConstructor,
)
from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from . import wrap_once

# Options of paramwise_cfg, by the class whose add_params reads them. The Swin
# constructor reads name patterns instead.
_OPTIONS = {
    DefaultOptimWrapperConstructor: (
        'custom_keys',
        'bias_lr_mult',
        'bias_decay_mult',
        'norm_decay_mult',
        'dwconv_decay_mult',
        'flat_decay_mult',
        'dcn_offset_lr_mult',
        'bypass_duplicate',
    ),
    TSMOptimWrapperConstructor: ('fc_lr5', 'custom_keys'),
    LearningRateDecayOptimizerConstructor: ('num_layers', 'decay_rate', 'decay_type'),
}
_FACTORS = ('lr_mult', 'decay_mult')
# Patterns in mmaction2's Swin and TimeSformer configs that match no parameter.
_WITHOUT_MATCH = (
    'absolute_pos_embed',
    '.backbone.cls_token',
    '.backbone.pos_embed',
    '.backbone.time_embed',
)


def apply_optimizer_options() -> bool:
    """Honor the options of optimizer constructors, or reject them.

    ``paramwise_cfg=dict(fc_lr5=False, custom_keys=...)`` works with
    ``TSMOptimWrapperConstructor``, which doubles the learning rate of biases, disables
    decay for norms, and so on: a custom key multiplies these values.

    With any constructor that uses mmengine's ``__call__``, an error names options that
    the constructor does not read, patterns that match no parameter, unknown factors,
    and parameters that require gradients but are in no group. ``fc_lr5=True`` is
    rejected if the last layer is not the classifier.

    Symptom: ``custom_keys`` with ``lr_mult=10``, or ``lr_mult=0`` to freeze, has no
    effect; a parameter of a module that also has submodules is never trained.

    Upstream: not reported.

    Delete when: the oldest supported mmengine and mmaction2 honor or reject them.
    """
    wrap_once(TSMOptimWrapperConstructor, 'add_params', _with_custom_keys)
    return wrap_once(DefaultOptimWrapperConstructor, '__call__', _with_checks)


def _with_checks(
    method: Callable, self: DefaultOptimWrapperConstructor, model: nn.Module
) -> OptimWrapper:
    # The same unwrapping as in mmengine.
    plain = getattr(model, 'module', model)
    names = [name for name, _ in plain.named_parameters()]
    patterns = _check_options(self, names)
    optim_wrapper = method(self, model)
    _check_factors(self, patterns, optim_wrapper)
    _check_groups(self, plain, optim_wrapper)
    return optim_wrapper


def _reader(constructor: DefaultOptimWrapperConstructor) -> type:
    """Return the class whose ``add_params`` reads the options."""
    return next(cls for cls in type(constructor).__mro__ if 'add_params' in vars(cls))


def _check_options(
    constructor: DefaultOptimWrapperConstructor, names: list[str]
) -> dict[str, Any]:
    """Reject unknown options and patterns; return the patterns."""
    options, reader = constructor.paramwise_cfg, _reader(constructor)
    title = f'paramwise_cfg of {type(constructor).__name__}'
    if reader is TSMOptimWrapperConstructor and 'fc_lr5' not in options:
        if options:
            raise ValueError(
                f'{title} lacks fc_lr5: set it to True (five times the learning rate '
                'for the classifier) or False'
            )
        print_log(
            f'{title} is empty: all parameters get the same learning rate and decay. '
            'Set fc_lr5 to True or False to get those of TSM.',
            logger='current',
            level=logging.WARNING,
        )
    if reader is SwinOptimWrapperConstructor:
        if 'custom_keys' in options:
            raise ValueError(
                f'{title} has custom_keys, but this constructor expects the keys '
                'directly in paramwise_cfg: '
                'paramwise_cfg=dict(inserted_blocks=dict(lr_mult=10))'
            )
        patterns, place = options, title
    else:
        known = _OPTIONS.get(reader)
        if known is None:
            return {}
        for option in options:
            if option not in known:
                raise ValueError(
                    f'{title} has the unknown option {option!r}; expected '
                    f'{", ".join(known)}{_nearest(option, known)}'
                )
        patterns, place = options.get('custom_keys', {}), f'custom_keys in {title}'
    for pattern, factors in patterns.items():
        if not isinstance(factors, dict):
            raise ValueError(
                f'{place} has {pattern!r}: {factors!r}; expected a dict with '
                f'{" or ".join(_FACTORS)}'
            )
        if any(pattern in _full_name(name, reader) for name in names):
            continue
        message = f'{place} has {pattern!r}, which matches no parameter name'
        if pattern in _WITHOUT_MATCH:
            print_log(f'{message}.', logger='current', level=logging.WARNING)
            continue
        parts = sorted({part for name in names for part in name.split('.')})
        raise ValueError(
            f'{message}{_nearest(pattern, parts)}. The first and last names are '
            f'{names[0]!r} and {names[-1]!r}'
        )
    return dict(patterns)


def _full_name(name: str, reader: type) -> str:
    """Return the name that a constructor matches patterns against."""
    if reader is SwinOptimWrapperConstructor:
        return f'base.{name}'
    return name if '.' in name else f'.{name}'


def _nearest(word: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(word, known, n=1)
    return f'; did you mean {nearest[0]!r}?' if nearest else ''


def _check_factors(
    constructor: DefaultOptimWrapperConstructor,
    patterns: dict[str, Any],
    optim_wrapper: OptimWrapper,
) -> None:
    known = list(_FACTORS)
    if _reader(constructor) is not SwinOptimWrapperConstructor:
        known += optim_wrapper.optimizer.defaults
    for pattern, factors in patterns.items():
        for factor in factors:
            if factor not in known:
                raise ValueError(
                    f'paramwise_cfg of {type(constructor).__name__} has the unknown '
                    f'option {factor!r} for {pattern!r}; expected '
                    f'{", ".join(known)}{_nearest(factor, known)}'
                )


def _check_groups(
    constructor: DefaultOptimWrapperConstructor,
    model: nn.Module,
    optim_wrapper: OptimWrapper,
) -> None:
    grouped = {
        id(parameter)
        for group in optim_wrapper.optimizer.param_groups
        for parameter in group['params']
    }
    missing = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and id(parameter) not in grouped
    ]
    if missing:
        raise ValueError(
            f'{type(constructor).__name__} puts these parameters in no group, so they '
            f'would never be trained: {", ".join(missing)}. Move each into its own '
            'module without submodules, freeze it (requires_grad=False), or choose '
            'another optim_wrapper.constructor'
        )


def _with_custom_keys(
    method: Callable,
    self: TSMOptimWrapperConstructor,
    params: list[dict],
    model: nn.Module,
    **kwargs,
) -> None:
    method(self, params, model, **kwargs)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    if self.paramwise_cfg['fc_lr5'] and hasattr(model, 'cls_head'):
        for parameter in params[-2]['params'] + params[-1]['params']:
            name = names[id(parameter)]
            if not name.startswith('cls_head.'):
                raise ValueError(
                    'fc_lr5=True in paramwise_cfg of TSMOptimWrapperConstructor '
                    'multiplies the learning rate of the last layer of the network, '
                    f'but {name!r} is not in the classifier. Insert blocks into the '
                    'backbone (InsertBlocks around it, not around the recognizer), '
                    'or set fc_lr5=False'
                )
    custom = self.paramwise_cfg.get('custom_keys', {})
    # As in mmengine: the longest matching key wins, then the first alphabetically.
    keys = sorted(sorted(custom), key=len, reverse=True)
    for group in list(params):
        parameters = {None: []}
        for parameter in group['params']:
            name = _full_name(names[id(parameter)], TSMOptimWrapperConstructor)
            key = next((key for key in keys if key in name), None)
            parameters.setdefault(key, []).append(parameter)
        group['params'] = parameters.pop(None)
        for key, chosen in parameters.items():
            options = dict(custom[key])
            factors = {name: options.pop(name, 1.0) for name in _FACTORS}
            params.append(
                {
                    **group,
                    'params': chosen,
                    'lr': group['lr'] * factors['lr_mult'],
                    'weight_decay': group['weight_decay'] * factors['decay_mult'],
                    **options,
                }
            )
