# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Config, weights and class names of the network that predicts."""

import copy
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmaction.apis import init_recognizer
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.runner import checkpoint as loading
from torch import nn

from selfy_mmaction.checkpoints import SCHEME, packaged_config
from selfy_mmaction.compat.package_configs import find_configs
from selfy_mmaction.engine.checkpoint_check_hook import check_complete
from selfy_mmaction.text_files import read_class_names

_PACKAGE = Path(__file__).resolve().parents[1]

#: What is used without any argument: a network trained on the motion benchmark.
PACKAGED_CHECKPOINT = f'{SCHEME}selfy-tsn-r18-slim-motion'


def choose_files(
    config: str | os.PathLike | Config | None, checkpoint: str | os.PathLike | None
) -> tuple[str | os.PathLike | Config, str]:
    """Find the config of a packaged network, which is used if nothing is given.

    Returns:
        Config and checkpoint.

    Raises:
        FileNotFoundError: If the checkpoint does not exist.
        ValueError: If only one of the two is given.
    """
    if config is None and checkpoint is None:
        checkpoint = PACKAGED_CHECKPOINT
    if config is None and str(checkpoint).startswith(SCHEME):
        return packaged_config(str(checkpoint)), str(checkpoint)
    if config is None:
        raise ValueError(
            f'checkpoint {str(checkpoint)!r} needs its config; train.py wrote it into '
            'the folder of the checkpoint'
        )
    if checkpoint is None:
        raise ValueError(
            'config needs a checkpoint: without its weights, the network is untrained'
        )
    checkpoint = str(checkpoint)
    if '://' not in checkpoint and not Path(checkpoint).is_file():
        raise FileNotFoundError(f'checkpoint {checkpoint!r} does not exist')
    return config, checkpoint


def read_config(config: str | os.PathLike | Config) -> tuple[Config, str]:
    """Read a config.

    Args:
        config: A path, a name such as ``'mmaction::recognition/tsn/NAME.py'`` or
            ``'selfy_mmaction::selfy/NAME.py'``, or a config, which is copied.

    Returns:
        The config and its name for messages.

    Raises:
        FileNotFoundError: If the file does not exist.
        TypeError: If ``config`` is something else.
        ValueError: If the file is not a config of a network.
    """
    if isinstance(config, Config):
        name, read = config.filename or 'the config', copy.deepcopy(config)
    elif isinstance(config, (str, os.PathLike)):
        name = str(config)
        package, separator, path = name.partition('::')
        try:
            if package == 'selfy_mmaction' and separator:
                # mmengine.hub would need an installed package.
                read = Config.fromfile(find_configs(_PACKAGE) / path)
            else:
                read = get_config(name) if separator else Config.fromfile(name)
        except FileNotFoundError as error:
            raise FileNotFoundError(f'config {name!r}: {error}') from None
        except Exception as error:  # a config is code, which may raise any error
            raise ValueError(
                f'{name} cannot be read as a config: {type(error).__name__}: {error}'
            ) from error
    else:
        raise TypeError(
            f'config is {type(config).__name__}, expected a path, a name with :: or a '
            'Config'
        )
    if not isinstance(read.get('model'), dict):
        raise ValueError(f'{name} has no model; give the config of the training')
    return read, name


def load_checkpoint(checkpoint: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Load weights and metadata of a checkpoint.

    Returns:
        The weights, without the prefix of a distributed model, and the metadata, empty
        if there are none.

    Raises:
        ValueError: If the file cannot be loaded.
    """
    try:
        loaded = loading.CheckpointLoader.load_checkpoint(
            checkpoint, map_location='cpu', logger='silent'
        )
        weights = loaded.get('state_dict', loaded)
        weights = {key.removeprefix('module.'): w for key, w in weights.items()}
        if not all(isinstance(weight, torch.Tensor) for weight in weights.values()):
            raise ValueError('it has other things than weights')
    except Exception as error:  # torch raises any error on a damaged file
        raise ValueError(
            f'{checkpoint} cannot be loaded as a checkpoint: {type(error).__name__}: '
            f'{error}'
        ) from error
    meta = loaded.get('meta')
    return weights, meta if isinstance(meta, dict) else {}


def build_network(
    config: Config,
    name: str,
    checkpoint: str,
    weights: dict[str, torch.Tensor],
    device: torch.device,
) -> nn.Module:
    """Build a network like mmaction2's ``init_recognizer``, and check its weights.

    Args:
        config: Config; a head without a number of classes gets that of ``weights``.
        name: Name of the config for messages.
        checkpoint: Name of the checkpoint for messages.
        weights: Weights of the checkpoint.
        device: Device.

    Raises:
        ValueError: If the config does not define a network, or the weights are those of
            another one.
    """
    _set_num_classes(config.model, weights)
    try:
        model = init_recognizer(config, None, device)
    except Exception as error:  # the user's config may raise any error
        raise ValueError(
            f'{name} does not define a network that can predict: '
            f'{type(error).__name__}: {error}'
        ) from error
    try:
        check_complete(model, weights)
    except ValueError as error:
        raise ValueError(f'{checkpoint}: {error}') from None
    loading.load_state_dict(model, weights, logger='silent')
    return model


def _set_num_classes(model: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    """Spare a head that counts the lines of a class file the file."""
    head = model.get('cls_head')
    last = weights.get('cls_head.fc_cls.weight')
    if isinstance(head, dict) and 'class_file' in head and last is not None:
        head['num_classes'] = head.get('num_classes') or len(last)


def choose_device(device: str | torch.device | None) -> torch.device:
    """Return a device, by default the first GPU, or the CPU if there is none.

    Raises:
        ValueError: If the device does not exist.
    """
    if device is None:
        return torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')
    try:
        return torch.empty(0, device=device).device
    except Exception as error:  # depends on the backend
        reason = str(error).splitlines()[0]
        raise ValueError(
            f'device {str(device)!r} cannot be used ({reason}); expected cpu, cuda or '
            'cuda:N of an existing GPU'
        ) from None


def find_class_names(
    classes: str | os.PathLike | Sequence[str] | None,
    meta: dict[str, Any],
    config: Config,
    num_classes: int,
) -> list[str]:
    """Find the class names: the user's, the checkpoint's, or those of the config.

    Args:
        classes: A file with one name per line, or the names. None: those that the
            training stored in the checkpoint, else those of ``class_file`` in the
            config, else the class indices as text.
        meta: Metadata of the checkpoint.
        config: Config.
        num_classes: Number of classes of the network.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If there are more or fewer names than classes.
    """
    names: Sequence[str]
    if isinstance(classes, (str, os.PathLike)):
        source, names = str(classes), read_class_names(str(classes))
    elif classes is not None:
        source, names = 'classes', classes
    elif stored := (meta.get('dataset_meta') or {}).get('classes'):
        source, names = 'the checkpoint', stored
    else:
        files = [file for file in _class_files(config) if Path(file).is_file()]
        if not files:
            return [str(label) for label in range(num_classes)]
        source, names = files[0], read_class_names(files[0])
    if len(names) != num_classes:
        raise ValueError(
            f'{source} has {len(names)} class names, but the network has {num_classes} '
            'classes; give the class file of the training'
        )
    return [str(name) for name in names]


def _class_files(config: Config) -> Iterator[str]:
    datasets = [
        (config.get(f'{split}_dataloader') or {}).get('dataset') or {}
        for split in ('test', 'val', 'train')
    ]
    for part in (*datasets, config.model.get('cls_head') or {}):
        if isinstance(part.get('class_file'), str):
            yield part['class_file']
