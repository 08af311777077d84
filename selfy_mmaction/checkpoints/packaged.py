# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Trained networks and a clip that are installed with the package."""

import difflib
from pathlib import Path
from typing import Any

from mmengine.runner.checkpoint import CheckpointLoader

from selfy_mmaction.compat.package_configs import find_configs

from .safetensors_files import load_from_safetensors

SCHEME = 'selfy_mmaction://'
PRETRAINED = Path(__file__).resolve().parents[1] / 'pretrained'
SAMPLE_CLIP = PRETRAINED / 'sample.mp4'
"""A clip that the packaged networks were not trained on; its card names its class."""


def register_packaged() -> None:
    """Make mmengine read ``selfy_mmaction://NAME`` wherever it reads checkpoints."""
    CheckpointLoader.register_scheme(SCHEME, load_from_selfy_mmaction, force=True)


def packaged_names() -> list[str]:
    """List the packaged networks.

    Returns:
        Their names, sorted.

    Example:
        >>> from selfy_mmaction.checkpoints import packaged_names
        >>> packaged_names()
        ['resnet18-slim-scenes', 'selfy-tsn-r18-slim-motion']
    """
    return sorted(path.stem for path in PRETRAINED.glob('*.safetensors'))


def packaged_path(name: str) -> Path:
    """Find the file of a packaged network. Its card is the ``.md`` file next to it.

    Args:
        name: The name, with or without ``selfy_mmaction://``.

    Returns:
        The safetensors file.

    Raises:
        FileNotFoundError: If there is no such network; the error lists all names.

    Example:
        >>> from mmengine.runner.checkpoint import CheckpointLoader
        >>> from selfy_mmaction.checkpoints import packaged_path
        >>> path = packaged_path('selfy_mmaction://selfy-tsn-r18-slim-motion')
        >>> path.name
        'selfy-tsn-r18-slim-motion.safetensors'
        >>> sorted(CheckpointLoader.load_checkpoint(str(path)))
        ['meta', 'state_dict']
    """
    name = name.removeprefix(SCHEME)
    names = packaged_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        raise FileNotFoundError(
            f'selfy_mmaction has no network {SCHEME}{name}. '
            + (f'Did you mean {SCHEME}{near[0]}? ' if near else '')
            + f'It has: {", ".join(names)}'
        )
    return PRETRAINED / f'{name}.safetensors'


def packaged_config(name: str) -> Path:
    """Find the config that a packaged network was trained with.

    Args:
        name: The name, with or without ``selfy_mmaction://``.

    Returns:
        The config, in the checkout or in the installed package.

    Raises:
        FileNotFoundError: If there is no such network, or its config is not installed.

    Example:
        >>> from mmengine.config import Config
        >>> from selfy_mmaction.checkpoints import packaged_config
        >>> config = Config.fromfile(packaged_config('selfy-tsn-r18-slim-motion'))
        >>> config.model.backbone.type, config.model.backbone.selfy.after
        ('ResNetSELFY', 'res3')
    """
    notes = load_from_safetensors(str(packaged_path(name)))['meta']['notes']
    folder = find_configs(PRETRAINED.parent)
    found = next(folder.rglob(notes['config']), None)
    if found is None:
        raise FileNotFoundError(
            f'{notes["config"]} is not in {folder}; reinstall selfy-mmaction, or add '
            'it to PYTHONPATH from a complete checkout'
        )
    return found


# mmengine logs what follows `load_from_` in the name.
def load_from_selfy_mmaction(name: str, map_location: Any = None) -> dict[str, Any]:
    """Load a packaged network.

    Args:
        name: ``selfy_mmaction://NAME``.
        map_location: See :func:`load_from_safetensors`. Default: None.

    Returns:
        See :func:`load_from_safetensors`.

    Raises:
        FileNotFoundError: If there is no such network; the error lists all names.
        RuntimeError: If the file is damaged.
    """
    return load_from_safetensors(str(packaged_path(name)), map_location)
