# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Conversion of checkpoints of the official SELFY and TSM code to our recognizers.

The networks are equivalent; the temporal shift, for example, has the same fractions and
directions in the SELFY code, the TSM code and mmaction2. Only names differ, and shapes
if the SELFY code has a kernel dimension of size 1 that we do not have.

The SELFY code trains the network without the block with ``--arch TSM``. With
``--dropout 0`` both codes keep the last layer in the ResNet, as ``fc`` or ``fc1``, in
place of the dropout layer.
"""

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from mmaction.models.backbones.resnet import Bottleneck, ResNet
from mmengine.config import Config
from torch import Tensor, nn

from .safetensors_files import load_from_safetensors

KINDS = ('selfy', 'tsm')

_BLOCK = r'backbone\.(layer\d\.\d+)\.'
_SELFY = r'backbone\.inserted_blocks\.layer2\.'
_STSS = 'base_model.selfy.stss_'
_LAST_LAYERS = ('new_fc', 'base_model.fc1', 'base_model.fc')

# Prefixes of parameter names: ours, as a regular expression, and the official ones.
_RESNET = (
    (r'backbone\.conv1\.conv\.', 'base_model.conv1.'),
    (r'backbone\.conv1\.bn\.', 'base_model.bn1.'),
    (_BLOCK + r'conv([23])\.conv\.', r'base_model.\1.conv\2.'),
    (_BLOCK + r'conv(\d)\.bn\.', r'base_model.\1.bn\2.'),
    (_BLOCK + r'downsample\.conv\.', r'base_model.\1.downsample.0.'),
    (_BLOCK + r'downsample\.bn\.', r'base_model.\1.downsample.1.'),
    (r'cls_head\.fc_cls\.', 'new_fc.'),
)
_RULES = {
    'tsm': (
        *_RESNET,
        # The shift is a module around the convolution, as in mmaction2.
        (_BLOCK + r'conv1\.conv\.', r'base_model.\1.conv1.'),
    ),
    'selfy': (
        *_RESNET,
        # The shift is a function, in every residual block: a first convolution that our
        # model does not shift has no counterpart.
        (_BLOCK + r'conv1\.conv\.net\.', r'base_model.\1.conv1.'),
        (_SELFY + r'reduction\.conv\.conv\.', _STSS + 'transformation.downsample.0.'),
        (_SELFY + r'reduction\.conv\.bn\.', _STSS + 'transformation.downsample.1.'),
        (_SELFY + r'(\w+)\.layers\.(\d)\.conv\.', _STSS + r'\1.conv\2.0.'),
        (_SELFY + r'(\w+)\.layers\.(\d)\.bn\.', _STSS + r'\1.conv\2.1.'),
        (_SELFY + r'integration\.project\.conv\.', _STSS + 'integration.conv3_fuse.1.'),
        (_SELFY + r'integration\.project\.bn\.', _STSS + 'integration.conv3_fuse.2.'),
        (_SELFY + r'restoration\.conv\.', _STSS + 'integration.upsample.0.'),
        (_SELFY + r'restoration\.norm\.', _STSS + 'integration.upsample.1.'),
    ),
}


def official_name(name: str, kind: str = 'selfy') -> str | None:
    """Return the name of a parameter or buffer in the official code.

    Args:
        name: Name in our recognizer's ``state_dict``.
        kind: The official code, 'selfy' or 'tsm'. Default: 'selfy'.

    Returns:
        The name, without ``module.``; None if the official code has no counterpart.
    """
    for ours, official in _RULES[kind]:
        found = re.match(ours, name)
        if found:
            return found.expand(official) + name[found.end() :]
    return None


def load_official(path: str | Path) -> dict[str, Tensor]:
    """Read an official checkpoint with ``weights_only=True``.

    Args:
        path: File written by the official training scripts, or a safetensors file.

    Returns:
        Tensors by official name, without ``module.``.

    Raises:
        OSError: If the file cannot be opened.
        ValueError: If the file is damaged or not a checkpoint, would run code, or has
            no ``state_dict`` of tensors.
    """
    with open(path, 'rb') as file:
        if Path(path).suffix.lower() == '.safetensors':
            return _load_safetensors(path)
        try:
            state = torch.load(file, map_location='cpu', weights_only=True)
        except pickle.UnpicklingError as error:
            # torch's own message recommends loading the file with weights_only=False.
            reason = error.__context__ or error
            raise ValueError(f'{path} was not read: {reason}') from None
        except Exception as error:  # torch may raise anything for damaged data
            raise ValueError(
                f'{path} is not a complete checkpoint: {type(error).__name__}: {error}'
            ) from error
    if isinstance(state, Mapping):
        state = state.get('state_dict', state)
    if (
        not isinstance(state, Mapping)
        or not state
        or not all(
            isinstance(name, str) and isinstance(value, Tensor)
            for name, value in state.items()
        )
    ):
        raise ValueError(f'{path} has no state_dict of tensors')
    return {name.removeprefix('module.'): value for name, value in state.items()}


def _load_safetensors(path: str | Path) -> dict[str, Tensor]:
    try:
        return load_from_safetensors(str(path))['state_dict']
    except RuntimeError as error:
        raise ValueError(str(error)) from error


def has_block(state: Mapping[str, Tensor]) -> bool:
    """Check whether a checkpoint has the SELFY block.

    Args:
        state: Result of :func:`load_official`.

    Returns:
        True if it does; False for ``--arch TSM`` of the SELFY code, and the TSM code.
    """
    return any(name.startswith('base_model.selfy.') for name in state)


def find_last_layer(state: Mapping[str, Tensor]) -> str:
    """Find the name of the last layer in a checkpoint.

    Args:
        state: Result of :func:`load_official`.

    Returns:
        'new_fc'; 'base_model.fc1' or 'base_model.fc' if it was trained without dropout.
    """
    found = (name for name in _LAST_LAYERS if f'{name}.weight' in state)
    return next(found, 'new_fc')


def check_kind(state: Mapping[str, Tensor], kind: str) -> None:
    """Reject a checkpoint of the other code, which shifts other layers or none.

    Args:
        state: Result of :func:`load_official`.
        kind: The expected code, 'selfy' or 'tsm'.

    Raises:
        ValueError: If the checkpoint is from other code.
    """
    # In the TSM code the shift is a module around the convolution.
    shifts = [name for name in state if name.endswith('.conv1.net.weight')]
    if kind == 'tsm':
        if not shifts:
            raise ValueError(
                'it has no shift around first convolutions (conv1.net.weight), which '
                'the TSM code has; if it is from the SELFY code, omit --kind tsm'
            )
        return
    if shifts:
        raise ValueError(f'it has {shifts[0]}, as in the TSM code; give --kind tsm')
    # In the SELFY code the last layer is a convolution, or is named fc1.
    last = find_last_layer(state)
    weight = state.get(f'{last}.weight', torch.empty(0))
    linear = last != 'base_model.fc1' and weight.dim() == 2
    if linear and not has_block(state):
        raise ValueError(
            f'it has neither the SELFY block nor a shift, and {last} is a linear '
            'layer: this is a TSN of the TSM code, not a TSM of the SELFY code'
        )


def find_depth(state: Mapping[str, Tensor]) -> int:
    """Find the depth of the ResNet in a checkpoint.

    Args:
        state: Result of :func:`load_official`.

    Returns:
        18, 34, 50, 101 or 152.

    Raises:
        ValueError: If no ResNet has these residual blocks.
    """
    found = (re.match(r'base_model\.layer(\d)\.(\d+)\.', name) for name in state)
    blocks = {match.groups() for match in found if match}
    sizes = tuple(sum(layer == str(i) for layer, _ in blocks) for i in range(1, 5))
    bottleneck = any(re.match(r'base_model\.layer1\.\d+\.conv3\.', n) for n in state)
    for depth, (block, stage_blocks) in ResNet.arch_settings.items():
        if stage_blocks == sizes and (block is Bottleneck) == bottleneck:
            return depth
    raise ValueError(
        f'no ResNet has {sizes} blocks in base_model.layer1 to layer4 '
        f'({"with" if bottleneck else "without"} base_model.layer1.*.conv3); its first '
        f'name is {next(iter(state))!r}'
    )


def fit_config(config: Config, state: Mapping[str, Tensor], kind: str) -> None:
    """Adapt a config of the official network to a checkpoint.

    Sets the depth, the temporal offsets (-4 to 4 instead of -2 to 2 for 16 frames), the
    number of classes, and whether there is a block and dropout. The number of frames
    per clip does not affect any shape, so one converted file works for all.

    Args:
        config: One of ``configs/selfy/official``, changed in place.
        state: Result of :func:`load_official`.
        kind: The official code, 'selfy' or 'tsm'. For 'tsm' backbone and head become
            mmaction2's ``ResNetTSM`` and ``TSMHead``.

    Raises:
        ValueError: If :func:`find_depth` raises it.
    """
    backbone, head = config.model.backbone, config.model.cls_head
    backbone.depth = find_depth(state)
    last = find_last_layer(state)
    if f'{last}.bias' in state:
        head.num_classes = state[f'{last}.bias'].numel()
    if last != 'new_fc':
        head.dropout_ratio = 0
    if kind == 'tsm' or not has_block(state):
        del backbone['selfy']
    if kind == 'tsm':
        backbone.type, head.type = 'ResNetTSM', 'TSMHead'
        return
    if backbone.depth > 50:
        backbone.type = 'ReleasedResNetTSMSELFY'
    fuse = state.get(_STSS + 'integration.conv3_fuse.1.weight')
    if fuse is not None and fuse.dim() > 1:
        reach = fuse.size(1) // 64 // 2
        backbone.selfy.block.offsets = tuple(range(-reach, reach + 1))


def convert_official(
    state: Mapping[str, Tensor], model: nn.Module, kind: str = 'selfy'
) -> dict[str, Tensor]:
    """Convert the tensors of a checkpoint to our names and shapes.

    Args:
        state: Result of :func:`load_official`.
        model: ``Recognizer2D`` to convert for, on any device. For 'selfy' it has a
            ``ResNetTSMSELFY`` and, if the checkpoint has the block, its official form
            after res3; for 'tsm' it has a ``ResNetTSM``.
        kind: The official code, 'selfy' or 'tsm'. Default: 'selfy'.

    Returns:
        The model's complete ``state_dict``.

    Raises:
        ValueError: If the checkpoint is from other code, or any key is missing,
            unexpected or has a wrong shape; the error lists all such keys.
    """
    check_kind(state, kind)
    last = find_last_layer(state)

    def find_name(name: str) -> str | None:
        official = official_name(name, kind)
        if official is not None and official.startswith('new_fc.'):
            return official.replace('new_fc', last)
        return official

    return rename(state, model, find_name)


def rename(
    state: Mapping[str, Tensor],
    model: nn.Module,
    find_name: Callable[[str], str | None],
) -> dict[str, Tensor]:
    """Convert the tensors of other code to a model's names and shapes.

    Kernels lose a temporal dimension of size 1 that the model does not have.

    Args:
        state: Tensors by their name in the other code.
        model: Model to convert for, on any device.
        find_name: Returns the name in the other code for the model's; None if there is
            none.

    Returns:
        The model's complete ``state_dict``.

    Raises:
        ValueError: If any key is missing, unexpected or has a wrong shape; the error
            lists all such keys.
    """
    remaining, converted, errors = dict(state), {}, []
    for name, expected in model.state_dict().items():
        official = find_name(name)
        if official is None:
            errors.append(f'no counterpart in the official code: our {name}')
            continue
        if official not in remaining:
            errors.append(f'missing: {official} (our {name})')
            continue
        value = remaining.pop(official)
        if value.dim() == expected.dim() + 1 and value.size(2) == 1:
            converted[name] = value.squeeze(2)
        else:
            converted[name] = value
        if converted[name].shape != expected.shape:
            errors.append(
                f'wrong shape: {official} is {tuple(value.shape)}, our {name} is '
                f'{tuple(expected.shape)}'
            )
    errors += [f'unexpected: {name}' for name in remaining]
    if errors:
        raise ValueError(
            'the checkpoint does not fit the model:\n  ' + '\n  '.join(errors)
        )
    return converted
