# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Conversion of MOSS blocks and RLDX-1's motion modules in official checkpoints.

The rest of these networks has no counterpart in mmaction2: only the modules are read.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from mmaction.registry import MODELS
from torch import Tensor

from .official import rename

# Names of a module's tensors: ours, as a regular expression, and the official ones.
_RULES = (
    (r'encoders\.(\d+)\.reduction\.norm\.', r'stss_encoders.\1.ln_pre.'),
    (r'encoders\.(\d+)\.reduction\.linear\.', r'stss_encoders.\1.in_proj.'),
    (
        r'encoders\.(\d+)\.(\w+)\.layers\.(\d)\.conv\.',
        r'stss_encoders.\1.stss_\2.conv\3.0.',
    ),
    (
        r'encoders\.(\d+)\.(\w+)\.layers\.(\d)\.[bg]n\.',
        r'stss_encoders.\1.stss_\2.conv\3.1.',
    ),
    (
        r'encoders\.(\d+)\.integration\.project\.conv\.',
        r'stss_encoders.\1.stss_integration.conv2_fuse.1.',
    ),
    (
        r'encoders\.(\d+)\.integration\.project\.[bg]n\.',
        r'stss_encoders.\1.stss_integration.conv2_fuse.2.',
    ),
    (r'encoders\.(\d+)\.projection\.', r'stss_encoders.\1.out_proj.'),
    (r'projection\.', 'out_proj.'),
    (r'layer_scale\.weight', 'layerscale'),
)
_ENCODERS = 'stss_encoders.'
_FULL, _LITE = 'stss_integration.conv2_fuse.', 'stss_integration.fuse.'
_ENCODER = re.compile(r'^(.*?)stss_encoders\.\d+\.')
# Before its last version, MOSS's code had one list of encoders for each order.
_OLD = re.compile(r'^(.*?)selfy_layers(2?)\.(\d+)\.(?!stss_encoders\.)')
_OWN = ('out_proj.', 'layerscale')  # of a module, outside of its encoders


def find_motion_modules(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Find the modules in a checkpoint.

    Args:
        state: Tensors by official name. Older names, with ``selfy_layers`` for the
            first order and ``selfy_layers2`` for the second, are replaced.

    Returns:
        For each module, its prefix with a dot, such as
        'visual.side_network.moss_layers.0.', and its tensors without it.
    """
    named = {_current_name(name): value for name, value in state.items()}
    prefixes = {found[1]: None for name in named if (found := _ENCODER.match(name))}
    return {
        prefix: {
            rest: value
            for name, value in named.items()
            if name.startswith(prefix)
            and (rest := name.removeprefix(prefix)).startswith((_ENCODERS, *_OWN))
        }
        for prefix in prefixes
    }


def _current_name(name: str) -> str:
    found = _OLD.match(name)
    if not found:
        return name.replace('.selfy_layers.', '.moss_layers.')
    path, second, index = found.groups()
    encoder = f'{path}moss_layers.{index}.stss_encoders.{1 if second else 0}.'
    return encoder + name[found.end() :]


def find_module_config(
    module: Mapping[str, Tensor], similarity: str = 'cosine'
) -> dict[str, Any]:
    """Derive the config of a module from the shapes of its tensors.

    Args:
        module: Tensors of :func:`find_motion_modules`.
        similarity: 'cosine', 'scaled_dot' or 'softmax', which no shape tells.
            Default: 'cosine'.

    Returns:
        Config of a :class:`~selfy_mmaction.models.HigherOrderSTSS`. With a last layer
        or LayerScale, the module is RLDX-1's: end frames instead of zeros beyond the
        clip, and the epsilon of its layer norm.

    Raises:
        ValueError: If tensors are missing, or the window is not a square.
    """
    first = f'{_ENCODERS}0.'
    is_lite = f'{first}{_LITE}1.weight' in module
    fuse = f'{first}{_LITE if is_lite else _FULL}1.weight'
    kernels = f'{first}stss_extraction.conv0.0.weight'
    names = [f'{first}in_proj.weight', f'{first}out_proj.weight', kernels, fuse]
    if not is_lite:
        names += [f'{first}stss_integration.conv{k}.0.weight' for k in (0, 1)]
    if missing := [name for name in names if name not in module]:
        raise ValueError(f'the module lacks {", ".join(missing)}')
    reduced, in_channels = module[f'{first}in_proj.weight'].shape
    hidden = module[f'{first}out_proj.weight'].size(0)
    extracted, area = module[kernels].shape[:2]
    side = math.isqrt(area)
    if side * side != area or not side % 2:
        raise ValueError(
            f'{kernels} has {area} positions, but only square windows of odd sides, '
            'such as 9x9=81, can be recognized'
        )
    if is_lite:
        last = extracted
        integration = dict(type='LiteIntegration', out_channels=module[fuse].size(0))
    else:
        widths = [module[name].size(0) for name in (*names[4:], fuse)]
        last = widths[1]
        integration = dict(channels=tuple(widths))
    num_offsets = module[fuse].size(1) // last
    is_rldx = any(name.startswith(_OWN) for name in module)
    has_batch_norm = f'{first}stss_extraction.conv0.1.running_mean' in module
    num_orders = 1 + max(
        int(name.split('.')[1]) for name in module if name.startswith(_ENCODERS)
    )
    config: dict[str, Any] = dict(
        type='HigherOrderSTSS',
        in_channels=in_channels,
        out_channels=hidden,
        orders=tuple(range(1, num_orders + 1)),
        offsets=tuple(range(-(num_offsets // 2), num_offsets - num_offsets // 2)),
        window=(side, side),
        encoder=dict(
            reduced_channels=reduced,
            reduction=dict(eps=1e-6 if is_rldx else 1e-5),
            transformation=dict(
                similarity=similarity, clip_ends='replicate' if is_rldx else 'zeros'
            ),
            extraction=dict(channels=(extracted,)),
            integration=integration,
            norm_cfg=dict(type='BN' if has_batch_norm else 'GN'),
        ),
    )
    if not has_batch_norm:
        config['encoder']['norm_cfg']['num_groups'] = 1
    if 'layerscale' in module:
        config['layer_scale'] = 1e-5
    elif is_rldx:
        config['hidden_channels'] = hidden
        config['out_channels'] = module['out_proj.weight'].size(0)
    return config


def find_motion_module(
    state: Mapping[str, Tensor], prefix: str | None = None
) -> dict[str, Tensor]:
    """Find the module to convert in a checkpoint.

    Args:
        state: Tensors by official name.
        prefix: Prefix of the module. Default: None, if there is only one.

    Returns:
        Its tensors without the prefix; see :func:`find_motion_modules`.

    Raises:
        ValueError: If there is no such module, or several and no ``prefix``.
    """
    modules = find_motion_modules(state)
    if not modules:
        raise ValueError(
            'it has no tensor whose name contains stss_encoders.0 or selfy_layers.0, '
            'as in MOSS blocks and motion modules; the first name is '
            f'{next(iter(state))!r}'
        )
    if prefix is None and len(modules) == 1:
        return next(iter(modules.values()))
    if prefix not in modules:
        raise ValueError(
            f'prefix must be one of {[*modules]}, the modules in it, but got {prefix!r}'
        )
    return modules[prefix]


def convert_to_block(
    module: Mapping[str, Tensor], similarity: str = 'cosine'
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Convert a module to a registered module of ours.

    Args:
        module: Result of :func:`find_motion_module`.
        similarity: See :func:`find_module_config`. Default: 'cosine'.

    Returns:
        Config and complete ``state_dict`` of a
        :class:`~selfy_mmaction.models.MOSSBlock`; of a
        :class:`~selfy_mmaction.models.HigherOrderSTSS` if the result of the module has
        other channels than the features, so that no sum with them exists.

    Raises:
        ValueError: If the tensors do not fit together.
    """
    config = find_module_config(module, similarity)
    state = convert_motion_module(module, config)
    if config['in_channels'] == config['out_channels']:
        del config['out_channels']
        config['type'] = 'MOSSBlock'
        state = {f'stss.{name}': value for name, value in state.items()}
    return config, state


def convert_motion_module(
    module: Mapping[str, Tensor], config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Convert the tensors of a module to our names and shapes.

    Args:
        module: Tensors of :func:`find_motion_modules`.
        config: Result of :func:`find_module_config`, or your own.

    Returns:
        The complete ``state_dict`` of the module that ``config`` builds.

    Raises:
        ValueError: If any key is missing, unexpected or has a wrong shape.
    """
    is_lite = any(_LITE in name for name in module)

    def find_name(name: str) -> str | None:
        for ours, official in _RULES:
            found = re.match(ours, name)
            if found:
                named = found.expand(official) + name[found.end() :]
                return named.replace(_FULL, _LITE) if is_lite else named
        return None

    return rename(module, MODELS.build(dict(config)), find_name)
