# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Checkpoints of the official SELFY and TSM code, turned into those of our recognizers.

The networks compute the same: the temporal shift, too, has the same eighths and
directions in the SELFY code, the TSM code and mmaction2. Only names differ, and shapes
where the SELFY code has a kernel dimension of size 1 that we do not.

With ``--arch TSM`` the SELFY code trains the network without the block. With
``--dropout 0`` either code leaves the last layer in the ResNet, as ``fc`` or ``fc1``,
where otherwise the dropout is.
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from mmaction.models.backbones.resnet import Bottleneck, ResNet
from mmengine.config import Config
from torch import Tensor, nn

KINDS = ('selfy', 'tsm')

_BLOCK = r'backbone\.(layer\d\.\d+)\.'
_SELFY = r'backbone\.inserted_blocks\.layer2\.'
_STSS = 'base_model.selfy.stss_'
_LAST_LAYERS = ('new_fc', 'base_model.fc1', 'base_model.fc')

# Beginnings of names: ours, as a pattern, and theirs.
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
        # Their shift is a module around the convolution, as in mmaction2.
        (_BLOCK + r'conv1\.conv\.', r'base_model.\1.conv1.'),
    ),
    'selfy': (
        *_RESNET,
        # Their shift is a function, in every block: a first convolution that our model
        # does not shift has no counterpart.
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
    """Name of a parameter or buffer in the authors' code.

    Args:
        name: Name in our recognizer's ``state_dict``.
        kind: Whose code, 'selfy' or 'tsm'. Default: 'selfy'.

    Returns:
        The name, without ``module.``; None where that code has no counterpart.
    """
    for ours, theirs in _RULES[kind]:
        found = re.match(ours, name)
        if found:
            return found.expand(theirs) + name[found.end() :]
    return None


def load_official(path: str | Path) -> dict[str, Tensor]:
    """Read a checkpoint of either code; nothing but tensors and plain data.

    Args:
        path: The file, as the official training scripts write it.

    Returns:
        Tensors by the official names, without ``module.``.

    Raises:
        OSError: The file cannot be opened.
        ValueError: The file is damaged or no checkpoint, would run code, or holds no
            ``state_dict`` of tensors.
    """
    with open(path, 'rb') as file:
        try:
            state = torch.load(file, map_location='cpu', weights_only=True)
        except pickle.UnpicklingError as error:
            # torch's own message advises to load the file without protection.
            reason = error.__context__ or error
            raise ValueError(f'{path} was not read: {reason}') from None
        except Exception as error:  # whatever torch makes of damaged data
            raise ValueError(
                f'{path} is no complete checkpoint: {type(error).__name__}: {error}'
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
        raise ValueError(f'{path} holds no state_dict of tensors')
    return {name.removeprefix('module.'): value for name, value in state.items()}


def has_block(state: Mapping[str, Tensor]) -> bool:
    """Whether a checkpoint has the SELFY block.

    Args:
        state: Result of :func:`load_official`.

    Returns:
        False for the SELFY code's ``--arch TSM`` and for the TSM code.
    """
    return any(name.startswith('base_model.selfy.') for name in state)


def find_last_layer(state: Mapping[str, Tensor]) -> str:
    """Name of the last layer in a checkpoint.

    Args:
        state: Result of :func:`load_official`.

    Returns:
        'new_fc'; 'base_model.fc1' or 'base_model.fc' where it was trained without
        dropout.
    """
    found = (name for name in _LAST_LAYERS if f'{name}.weight' in state)
    return next(found, 'new_fc')


def check_kind(state: Mapping[str, Tensor], kind: str) -> None:
    """Refuse a checkpoint of other code, which shifts other layers or none.

    Args:
        state: Result of :func:`load_official`.
        kind: Whose checkpoint it is said to be, 'selfy' or 'tsm'.

    Raises:
        ValueError: It is another's.
    """
    # In the TSM code the shift is a module around the convolution.
    shifts = [name for name in state if name.endswith('.conv1.net.weight')]
    if kind == 'tsm':
        if not shifts:
            raise ValueError(
                'it has no shift around first convolutions (conv1.net.weight), as TSM '
                'of the TSM code has; if it is of the SELFY code, leave out --kind tsm'
            )
        return
    if shifts:
        raise ValueError(f'it has {shifts[0]}, as in the TSM code; give --kind tsm')
    # In the SELFY code the last layer is a convolution, or has a name of its own.
    last = find_last_layer(state)
    weight = state.get(f'{last}.weight', torch.empty(0))
    linear = last != 'base_model.fc1' and weight.dim() == 2
    if linear and not has_block(state):
        raise ValueError(
            f'it has neither the SELFY block nor a shift, and {last}.weight is that of '
            'a linear layer: a TSN of the TSM code, not a TSM of the SELFY code'
        )


def find_depth(state: Mapping[str, Tensor]) -> int:
    """Depth of the ResNet in a checkpoint.

    Args:
        state: Result of :func:`load_official`.

    Returns:
        18, 34, 50, 101 or 152.

    Raises:
        ValueError: Its blocks are those of none of them.
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
        f'({"with" if bottleneck else "without"} base_model.layer1.*.conv3); its names '
        f'begin with {next(iter(state))!r}'
    )


def fit_config(config: Config, state: Mapping[str, Tensor], kind: str) -> None:
    """Change a config of the released form to what a checkpoint shows.

    That is the depth, the number of temporal offsets (-4 to 4 rather than -2 to 2, as
    for 16 frames) and of classes, and whether there is a block and dropout. How many
    frames a clip has cannot be seen: no shape depends on it, and one converted file
    serves any.

    Args:
        config: One of ``configs/selfy/official``, changed in place.
        state: Result of :func:`load_official`.
        kind: Whose checkpoint, 'selfy' or 'tsm'. For 'tsm' backbone and head become
            mmaction2's ``ResNetTSM`` and ``TSMHead``.

    Raises:
        ValueError: As :func:`find_depth`.
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
    """Give the tensors of a checkpoint our names and shapes.

    Args:
        state: Result of :func:`load_official`.
        model: ``Recognizer2D`` that is to load them, of any device. For 'selfy' with
            ``ResNetTSMSELFY`` and, where the checkpoint has the block, its released
            form after res3; for 'tsm' with ``ResNetTSM``.
        kind: Whose checkpoint, 'selfy' or 'tsm'. Default: 'selfy'.

    Returns:
        The model's complete ``state_dict``.

    Raises:
        ValueError: It is a checkpoint of other code; or names every key that is
            missing, unexpected or of a wrong shape.
    """
    check_kind(state, kind)
    left, converted, errors = dict(state), {}, []
    last = find_last_layer(state)
    for name, expected in model.state_dict().items():
        theirs = official_name(name, kind)
        if theirs is None:
            errors.append(f'without counterpart in that code: our {name}')
            continue
        if theirs.startswith('new_fc.'):
            theirs = theirs.replace('new_fc', last)
        if theirs not in left:
            errors.append(f'missing: {theirs} (our {name})')
            continue
        value = left.pop(theirs)
        if value.dim() == expected.dim() + 1 and value.size(2) == 1:
            converted[name] = value.squeeze(2)
        else:
            converted[name] = value
        if converted[name].shape != expected.shape:
            errors.append(
                f'wrong shape: {theirs} is {tuple(value.shape)}, our {name} is '
                f'{tuple(expected.shape)}'
            )
    errors += [f'unexpected: {name}' for name in left]
    if errors:
        raise ValueError(
            'the checkpoint does not fit the model:\n  ' + '\n  '.join(errors)
        )
    return converted
