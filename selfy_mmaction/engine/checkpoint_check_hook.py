# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Check that a checkpoint has the weights of the network that loads it."""

import logging
from collections.abc import Callable
from typing import Any

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, Runner
from mmengine.runner import checkpoint as loading
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel

from selfy_mmaction.compat import wrap_once
from selfy_mmaction.models.insertion.host import HostOfBlocks
from selfy_mmaction.models.insertion.weights import check_block_weights, is_of_block

from .data_parts import inner_model

_HEAD = 'cls_head.'
_NO_RESUME = (
    '{} has only weights, which is not enough to resume training; to start a new '
    'training from them, use load_from without resume'
)


@HOOKS.register_module()
class CheckpointCheckHook(Hook):
    """Reject a checkpoint that does not match the network, before it is used.

    mmengine loads the weights that match and only logs the others. For testing,
    validation and resumed training, the checkpoint must have every weight of the
    network in its shape, and no weights for blocks that the network lacks. For training
    that starts from a checkpoint (``load_from``), this applies to the blocks only: a
    classifier of another size is initialized, as are blocks that the config declares as
    new (``selfy=dict(..., new=True)``). The log shows which.

    Blocks are also checked outside of a runner (``init_recognizer``, ``init_cfg``,
    ``load_checkpoint``).

    Raises:
        ValueError: If the checkpoint does not match.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from mmengine.runner import load_checkpoint
        >>> from selfy_mmaction.models import ResNetSELFY
        >>> custom_hooks = [dict(type='CheckpointCheckHook')]  # in a config
        >>> plain = ResNetSELFY(18, base_channels=8)
        >>> network = ResNetSELFY(18, base_channels=8, selfy=dict(after='res3'))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(plain.state_dict(), f'{folder}/plain.pth')
        ...     load_checkpoint(network, f'{folder}/plain.pth')
        Traceback (most recent call last):
            ...
        ValueError: the checkpoint does not fit the inserted blocks of ResNetSELFY: it
        has no weights for inserted_blocks.layer2 ...
    """

    # Run before hooks that copy the weights, such as EMAHook.
    priority = 'HIGH'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Check the loaded checkpoint, and add weights of new blocks to it."""
        model = inner_model(runner.model)
        # If mmengine finds the checkpoint itself, hooks do not learn its name.
        name = runner._load_from or f'the newest checkpoint in {runner.work_dir}'
        if any(isinstance(m, FullyShardedDataParallel) for m in model.modules()):
            print_log(
                f'{name} cannot be checked against a model sharded by FSDP; make sure '
                'that it has the weights of every block.',
                logger='current',
                level=logging.WARNING,
            )
            return
        is_whole = 'state_dict' not in checkpoint
        state_dict = {
            key.removeprefix('module.'): value
            for key, value in (
                checkpoint if is_whole else checkpoint['state_dict']
            ).items()
        }
        if runner._resume and 'meta' not in checkpoint:
            raise ValueError(_NO_RESUME.format(name))
        in_training = isinstance(runner._train_loop, BaseLoop) and not runner._resume
        try:
            if in_training:
                for key in _start_new_blocks(model, state_dict):
                    del state_dict[key]
                check_block_weights(model, state_dict)
                _check_start(model, state_dict)
            else:
                check_complete(model, state_dict)
        except ValueError as error:
            raise ValueError(f'{name}: {error}') from None
        # A published network has other metadata.
        if runner._resume and 'epoch' not in checkpoint['meta']:
            raise ValueError(_NO_RESUME.format(name))
        if in_training and any(getattr(m, 'new_blocks', ()) for m in model.modules()):
            if is_whole:
                checkpoint.clear()
                checkpoint.update(state_dict)
            else:
                checkpoint['state_dict'] = state_dict


def check_loaded_blocks() -> None:
    """Make mmengine's loader check the weights of inserted blocks in every call."""
    wrap_once(loading, 'load_state_dict', _load_checked)


def _load_checked(
    load: Callable, module: nn.Module, state_dict: dict[str, Tensor], *args, **kwargs
) -> None:
    network = inner_model(module)
    # While a host initializes itself, it loads the weights of its blocks separately.
    if not (isinstance(network, HostOfBlocks) and network.is_initializing):
        check_block_weights(network, state_dict)
    load(module, state_dict, *args, **kwargs)


def _start_new_blocks(model: nn.Module, state_dict: dict[str, Tensor]) -> set[str]:
    """Add the initialization of new blocks that the checkpoint lacks to its weights.

    Returns:
        Keys of the same hosts' blocks in the checkpoint that the network lacks.
    """
    own, unused = model.state_dict(), set()
    for name, module in model.named_modules():
        for block in getattr(module, 'new_blocks', ()):
            prefix = f'{name}.{block}.'.lstrip('.')
            keys = [key for key in own if key.startswith(prefix)]
            if any(_differs(state_dict, own, key) for key in keys):
                state_dict.update({key: own[key] for key in keys})
                print_log(
                    f'{prefix[:-1]} is new: the checkpoint has no weights for it, so '
                    'it starts from its initialization.',
                    logger='current',
                )
            of_host = f'{name}.'.lstrip('.')
            unused |= {
                key
                for key in state_dict
                if is_of_block(key) and key.startswith(of_host) and key not in own
            }
    return unused


def _check_start(model: nn.Module, state_dict: dict[str, Tensor]) -> None:
    own = model.state_dict()
    if all(_differs(state_dict, own, key) for key in own):
        raise ValueError(
            f'it has none of the weights of {type(model).__name__}; its first keys are '
            f'{list(state_dict)[:3]}; use a checkpoint of this network, or convert it'
        )
    for key in own:
        if (
            key.startswith(_HEAD)
            and key in state_dict
            and _differs(state_dict, own, key)
        ):
            print_log(
                f'{key} is {tuple(state_dict[key].shape)} in the checkpoint and '
                f'{tuple(own[key].shape)} in the network: this part of the classifier '
                'starts from its initialization.',
                logger='current',
                level=logging.WARNING,
            )


def check_complete(model: nn.Module, state_dict: dict[str, Tensor]) -> None:
    """Require every weight of a network in its shape.

    Args:
        model: The network.
        state_dict: Weights, with the keys of the network.

    Raises:
        ValueError: If a weight is missing or has another shape, or the weights are of a
            network with other blocks.
    """
    check_block_weights(model, state_dict)
    own = model.state_dict()
    wrong = [
        key
        for key in own
        if _differs(state_dict, own, key)
        and not (key.endswith('num_batches_tracked') and key not in state_dict)
    ]
    if not wrong:
        return
    key = wrong[0]
    found = f'{tuple(state_dict[key].shape)}' if key in state_dict else 'missing'
    where = 'the classifier' if key.startswith(_HEAD) else 'the network'
    raise ValueError(
        f'the checkpoint does not fit {where} of {type(model).__name__}: {key} is '
        f'{tuple(own[key].shape)} in the network and {found} in the checkpoint'
        + f', and {len(wrong) - 1} more differ' * (len(wrong) > 1)
        + '; use the config it was trained with (num_classes, depth, frames)'
    )


def _differs(state_dict: dict[str, Tensor], own: dict[str, Tensor], key: str) -> bool:
    return key not in state_dict or state_dict[key].shape != own[key].shape
