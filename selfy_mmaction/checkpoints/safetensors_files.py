# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Checkpoints in safetensors files, which hold weights and text but no code."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from selfy_mmaction.atomic_files import replacing

# Local files only: mmengine downloads other paths before it reads them.
_LOCAL_FILE = r'(?!.*://).*\.(?i:safetensors)$'
_HEADER = 8
"""Bytes at the start of a file that hold the size of its JSON header."""


def register_safetensors() -> None:
    """Make mmengine read ``.safetensors`` files wherever it reads checkpoints."""
    CheckpointLoader.register_scheme(_LOCAL_FILE, load_from_safetensors, force=True)


# mmengine logs what follows `load_from_` in the name.
def load_from_safetensors(path: str, map_location: Any = None) -> dict[str, Any]:
    """Read a checkpoint from a safetensors file.

    Args:
        path: The file.
        map_location: Device of the tensors. Default: None, the CPU; also for the
            functions and mappings that ``torch.load`` accepts.

    Returns:
        ``state_dict`` and ``meta``. ``meta['dataset_meta']['classes']`` is the tuple of
        class names, if the file has them, and ``meta['notes']`` has its other texts.

    Raises:
        FileNotFoundError: If the file does not exist.
        RuntimeError: If the file is damaged.
    """
    # Imported when needed: few runs read such a file.
    from safetensors import safe_open

    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f'The checkpoint {path} does not exist.')
    try:
        with safe_open(path, framework='pt') as file:
            notes = dict(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        # Not in `meta` itself, where mmengine looks for what resumes a training.
        meta: dict[str, Any] = dict(notes=notes)
        if 'classes' in notes:
            meta['dataset_meta'] = dict(classes=tuple(json.loads(notes.pop('classes'))))
        if 'sha256' in notes and notes['sha256'] != _digest_of_file(path):
            raise ValueError('its weights do not have the recorded checksum')
    except (MemoryError, PermissionError):
        raise
    except Exception as error:  # safetensors has its own class, json and torch others
        raise RuntimeError(
            f'The checkpoint {path} is damaged: {error}. Use another checkpoint, or '
            'copy this one again.'
        ) from error
    if isinstance(map_location, (str, torch.device)):
        state = {name: value.to(map_location) for name, value in state.items()}
    return dict(state_dict=state, meta=meta)


def write_safetensors(
    path: str | os.PathLike,
    state_dict: Mapping[str, Tensor],
    classes: Sequence[str] = (),
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write weights, and text about them, to a safetensors file.

    The same arguments write the same bytes.

    Args:
        path: The file to write.
        state_dict: Weights.
        classes: Class names in the order of the labels. Default: none.
        notes: Texts by name, such as ``dict(seed='0')``. Default: none.

    Raises:
        OSError: If the file cannot be written.
        ValueError: If a note has a name that the file uses itself.
    """
    from safetensors.torch import save

    notes = dict(notes or {})
    own = {'format': 'pt'}
    if classes:
        own['classes'] = json.dumps(list(classes), ensure_ascii=False)
    taken = {'format', 'classes', 'sha256'} & set(notes)
    if taken:
        raise ValueError(f'a note cannot be called {sorted(taken)[0]!r}')
    # Tensors that share memory are refused by safetensors.
    state = {
        name: value.detach().cpu().contiguous().clone()
        for name, value in state_dict.items()
    }
    content = save(state)
    own['sha256'] = _digest(content)
    with replacing(path) as partial:
        partial.write_bytes(_with_metadata(content, {**notes, **own}))


def _with_metadata(content: bytes, texts: Mapping[str, str]) -> bytes:
    """Add texts in their order; safetensors itself writes them in a random one."""
    size = int.from_bytes(content[:_HEADER], 'little')
    start = _HEADER + size
    header = {'__metadata__': texts, **json.loads(content[_HEADER:start])}
    text = json.dumps(header, ensure_ascii=False, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % _HEADER)  # the format aligns the tensors
    return len(text).to_bytes(_HEADER, 'little') + text + content[start:]


def _digest(content: bytes) -> str:
    size = int.from_bytes(content[:_HEADER], 'little')
    return hashlib.sha256(content[_HEADER + size :]).hexdigest()


def _digest_of_file(path: str) -> str:
    with open(path, 'rb') as file:
        return _digest(file.read())
