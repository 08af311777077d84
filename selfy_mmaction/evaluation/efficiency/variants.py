# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The networks to measure: configs, the rows of a table, or a sweep over options."""

import ast
import copy
import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from selfy_mmaction.inference.network import read_config

from .measure import Variant
from .networks import build_untrained
from .reported import find_reported, find_table


def read_variants(
    configs: Sequence[str], options: Mapping[str, Any] | None = None
) -> list[Variant]:
    """Read configs.

    Args:
        configs: Paths, or names such as ``'mmaction::recognition/tsn/NAME.py'``.
        options: Changes to all configs, by dotted key. Figures that others reported
            count only if nothing of the model is changed. Default: None.

    Raises:
        FileNotFoundError: If a config does not exist.
        ValueError: If a config cannot be read or is given twice, or it has no place for
            an option.

    Example:
        >>> from selfy_mmaction.checkpoints import packaged_config
        >>> from selfy_mmaction.evaluation.efficiency.variants import read_variants
        >>> path = str(packaged_config('selfy-tsn-r18-slim-motion'))
        >>> (variant,) = read_variants([path], {'model.backbone.depth': 34})
        >>> variant.config.model.backbone.depth
        34
    """
    variants = []
    for given in configs:
        config, path = read_config(given)
        for key, value in (options or {}).items():
            set_option(config, key, value)
        unchanged = not any(key.split('.')[0] == 'model' for key in options or {})
        reported = find_reported(Path(config.filename)) if unchanged else None
        variants.append(Variant(Path(path).stem, path, config, {}, reported))
    return _with_unique_names(variants)


def read_table(name: str, options: Mapping[str, Any] | None = None) -> list[Variant]:
    """Read the configs of a table of the paper, with the figures of its rows.

    Args:
        name: See :func:`find_table`.
        options: See :func:`read_variants`.

    Raises:
        ValueError: See :func:`find_table` and :func:`read_variants`.

    Example:
        >>> from selfy_mmaction.evaluation.efficiency.variants import read_table
        >>> variants = read_table('sup3g_efficiency')
        >>> variants[0].name, variants[0].reported.gflops
        ('tsm-r50_8xb8-1x1x8-50e_sthv1-rgb', 33.1)
    """
    rows = find_table(name)
    variants = read_variants([config for config, _ in rows], options)
    return [
        each._replace(reported=each.reported and reported)
        for each, (_, reported) in zip(variants, rows, strict=True)
    ]


def _with_unique_names(variants: list[Variant]) -> list[Variant]:
    paths = [each.path for each in variants]
    for path in paths:
        if paths.count(path) > 1:
            raise ValueError(f'{path} is given twice')
    names = [each.name for each in variants]
    return [
        each if names.count(each.name) == 1 else each._replace(name=each.path)
        for each in variants
    ]


def set_option(config: Config, key: str, value: Any) -> None:
    """Change an option of a config.

    Args:
        config: Config to change.
        key: Dotted key, with indices of lists, such as ``model.backbone.depth``.
        value: Value. A dict is merged.

    Raises:
        ValueError: If the config has no place for it. The last name may be new, unless
            it is the only one.
    """
    place: Any = config
    *parents, last = key.split('.')
    for depth, name in enumerate(parents if parents else [last]):
        names = (
            [str(index) for index in range(len(place))]
            if isinstance(place, (list, tuple))
            else [str(name) for name in place]
        )
        if name not in names:
            close = difflib.get_close_matches(name, names, cutoff=0.5) or names
            where = '.'.join(parents[:depth]) or Path(config.filename or '').name
            raise ValueError(
                f'{key}: {where} has no {name!r}; it has {", ".join(close)}'
            )
        place = place[int(name) if isinstance(place, (list, tuple)) else name]
        if parents and not isinstance(place, (dict, list, tuple)):
            where = '.'.join(parents[: depth + 1])
            raise ValueError(f'{key}: {where} is {place!r}, which has no {last!r}')
    config.merge_from_dict({key: value})


def parse_sweep(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Parse ``NAME=VALUE VALUE ...``.

    Values are Python literals or bare words, separated by blanks outside of brackets
    and quotes: ``offsets=(-1,0,1) (-2,-1,0,1,2)``.

    Raises:
        ValueError: If a text has no name or values, or a name or value occurs twice.

    Example:
        >>> from selfy_mmaction.evaluation.efficiency.variants import parse_sweep
        >>> parse_sweep(['window=5 9', 'offsets=1 (-1,0,1)'])
        {'window': [5, 9], 'offsets': [1, (-1, 0, 1)]}
    """
    sweep: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, rest = text.partition('=')
        name = name.strip()
        values = [_literal(word) for word in _words(rest, text)]
        if not name or not equals or not values:
            raise ValueError(
                f'--sweep {text!r} must be NAME="VALUE VALUE ...", such as window="5 9"'
            )
        if name in sweep:
            raise ValueError(f'--sweep has {name} twice; list all its values together')
        shown = [repr(value) for value in values]
        for value in shown:
            if shown.count(value) > 1:
                raise ValueError(f'--sweep {name} has the value {value} twice')
        sweep[name] = values
    return sweep


def _words(text: str, whole: str) -> Iterator[str]:
    word, depth, quote = '', 0, ''
    for char in text:
        if quote:
            quote = '' if char == quote else quote
        elif char in '\'"':
            quote = char
        else:
            depth += (char in '([{') - (char in ')]}')
        if char.isspace() and not depth and not quote:
            if word:
                yield word
            word = ''
        else:
            word += char
        if depth < 0:
            break
    if depth or quote:
        raise ValueError(f'--sweep {whole!r} has an unmatched bracket or quote')
    if word:
        yield word


def _literal(word: str) -> Any:
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError):
        if any(char in word for char in '()[]{},'):
            raise ValueError(
                f'--sweep: {word!r} is neither a Python literal nor a bare word'
            ) from None
        return word


def sweep_variants(base: Variant, sweep: Mapping[str, Sequence[Any]]) -> list[Variant]:
    """Combine all values of all options.

    Args:
        base: Network to change.
        sweep: Values by name: an option of the block, nested ones with dots
            (``window``, ``extraction.channels``), or a key of the config
            (``model.backbone.depth``).

    Returns:
        One network per combination; the last option changes fastest.

    Raises:
        ValueError: If the config has no block or no place for an option, or an option
            has a value with which no combination can be built.

    Example:
        >>> from selfy_mmaction.checkpoints import packaged_config
        >>> from selfy_mmaction.evaluation.efficiency import variants
        >>> path = str(packaged_config('selfy-tsn-r18-slim-motion'))
        >>> (base,) = variants.read_variants([path])
        >>> for variant in variants.sweep_variants(base, {'window': [5, 9]}):
        ...     print(variant.name)
        window=5
        window=9
    """
    places = {name: _places(base.config, name) for name in sweep}
    variants, failures = [], []
    for values in itertools.product(*sweep.values()):
        changes = dict(zip(sweep, values, strict=True))
        config = copy.deepcopy(base.config)
        for name, value in changes.items():
            if places[name]:
                # Steps of a block that its config does not name have defaults.
                config.merge_from_dict(dict.fromkeys(places[name], value))
            else:
                set_option(config, name, value)
        text = ' '.join(
            f'{name}={value}'.replace(', ', ',') for name, value in changes.items()
        )
        variants.append(Variant(text, base.path, config, changes))
        failures.append(_failure(config))
    for name, listed in sweep.items():
        for value in listed:
            with_value = [
                failure
                for variant, failure in zip(variants, failures, strict=True)
                if repr(variant.changes[name]) == repr(value)
            ]
            if all(with_value):
                raise ValueError(f'--sweep {name}={value!r}: {with_value[0]}')
    return variants


def _failure(config: Config) -> str:
    try:
        build_untrained(config)
    except Exception as error:  # configs may raise any
        return f'{type(error).__name__}: {error}'
    return ''


def _places(config: Config, name: str) -> list[str]:
    """Return the keys of an option in all blocks; none for a key of the config."""
    if name.partition('.')[0] in config and '.' in name:
        return []
    found = [f'{block}.{name}' for block in _blocks(config.model, 'model')]
    if not found:
        raise ValueError(
            f'--sweep {name}: {Path(config.filename or "").name} has no block; give a '
            'config with one, or a key of the config such as model.backbone.depth'
        )
    return found


def _blocks(part: Any, key: str) -> Iterator[str]:
    """Iterate over the keys of the configs of blocks, which are created if absent."""
    if isinstance(part, dict):
        if 'after' in part or part.get('type') == 'SELFYNeck':
            if part.get('block') is None:
                part['block'] = {}
            yield f'{key}.block'
            return
        for name, value in part.items():
            yield from _blocks(value, f'{key}.{name}')
    elif isinstance(part, (list, tuple)):
        for index, value in enumerate(part):
            yield from _blocks(value, f'{key}.{index}')
