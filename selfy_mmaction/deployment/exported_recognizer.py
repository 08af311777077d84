# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""An exported file as a recognizer of mmaction2, to test it on a dataset."""

import json
import os
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from mmaction.registry import MODELS
from mmengine.model import BaseModel
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from selfy_mmaction.ops import check_choice

from .runtimes import RUNTIMES, open_file

# Local files only: mmengine downloads other paths before it reads them.
_LOCAL_FILE = r'(?!.*://).*\.(?i:onnx|pt|pt2)$'
_KEY = 'exported_file'


@MODELS.register_module()
class ExportedRecognizer(BaseModel):
    """Runs a file that ``run export`` wrote, in place of the network.

    mmaction2's ``test.py`` and ``init_recognizer`` take the file as the checkpoint. The
    description beside it (``network.onnx.json``) must be there. The file runs on the
    CPU.

    Args:
        runtime: See :func:`~selfy_mmaction.deployment.runtimes.open_file`.
            Default: None.
        threads: See :func:`~selfy_mmaction.deployment.runtimes.open_file`.
            Default: None.

    Raises:
        ValueError: If the runtime is unknown.

    Attributes:
        card: Description of the file; empty before it is loaded.
        cls_head: Has ``num_classes`` of the file, None before it is loaded.

    Example:
        >>> import torch
        >>> from mmaction.registry import MODELS
        >>> import selfy_mmaction  # registers the modules
        >>> model = MODELS.build(dict(type='ExportedRecognizer'))  # model of a config
        >>> model(torch.zeros(1, 8, 3, 224, 224))
        Traceback (most recent call last):
            ...
        RuntimeError: no exported file is loaded; pass it as the checkpoint
    """

    def __init__(self, runtime: str | None = None, threads: int | None = None) -> None:
        super().__init__()
        if runtime is not None:
            check_choice('runtime', runtime, tuple(RUNTIMES))
        self.runtime, self.threads = runtime, threads
        self.card: dict[str, Any] = {}
        # Read by ClassCheckHook.
        self.cls_head = SimpleNamespace(num_classes=None)
        self._path = ''

    def open(self, path: str | os.PathLike) -> None:
        """Open the exported file.

        Raises:
            FileNotFoundError: If the file or its description does not exist.
            ImportError: If the runtime is not installed.
            ValueError: If the file is of another format than the runtime's.
        """
        self._run = open_file(path, self.runtime, self.threads)
        self.card, self._path = _read_card(path), str(path)
        self.cls_head.num_classes = self.card['output']['shape'][-1]
        normalization = dict(self.card['preprocessing']['normalization'])
        if self.card['input']['dtype'] == 'uint8':  # the file normalizes
            normalization = {}
        elif len(self.card['input']['shape']) == 6:
            normalization['format_shape'] = 'NCTHW'
        self.data_preprocessor = MODELS.build(
            dict(normalization, type='ActionDataPreprocessor')
        )

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[Any] | None = None,
        mode: str = 'tensor',
    ) -> Any:
        """Classify clips.

        Args:
            inputs: Frames as the file takes them, (N, ...).
            data_samples: Annotations of the N clips. Default: None.
            mode: 'tensor' or 'predict'. Default: 'tensor'.

        Returns:
            Probabilities, (N, classes), or, for 'predict', ``data_samples`` with
            ``pred_score`` and ``pred_label``.

        Raises:
            ValueError: If the frames have another size than those of the file, or for
                another mode.
            RuntimeError: If no file is loaded.
        """
        if mode not in ('tensor', 'predict'):
            raise ValueError(f'an exported file has no mode {mode!r}; it only predicts')
        if not self.card:
            raise RuntimeError('no exported file is loaded; pass it as the checkpoint')
        self._check_shape(inputs)
        # The data preprocessor returns float32, also for frames that it leaves alone.
        frames = inputs.cpu().numpy().astype(self.card['input']['dtype'])
        batch = self.card['input']['shape'][0]
        size = len(frames) if batch == 'batch' else batch
        parts = [self._run(frames[i : i + size]) for i in range(0, len(frames), size)]
        scores = torch.from_numpy(np.concatenate(parts)).to(inputs.device)
        if mode == 'tensor':
            return scores
        for sample, score in zip(data_samples or (), scores, strict=True):
            sample.set_pred_score(score)
            sample.set_pred_label(score.argmax(-1, keepdim=True))
        return data_samples

    def _check_shape(self, inputs: Tensor) -> None:
        wanted = self.card['input']['shape'][1:]
        if list(inputs.shape[1:]) != wanted:
            raise ValueError(
                f'{self._path} takes clips of the shape {wanted}, but the pipeline '
                f'packs {list(inputs.shape[1:])}; export the network with this config'
            )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        if prefix + _KEY not in state_dict:
            raise ValueError(
                'ExportedRecognizer takes a file of `run export` as the checkpoint, '
                'but got weights'
            )
        self.open(state_dict[prefix + _KEY])


def _read_card(path: str | os.PathLike) -> dict[str, Any]:
    card = Path(f'{path}.json')
    if not card.is_file():
        raise FileNotFoundError(
            f'{card} does not exist; `run export` writes it beside the file, so copy '
            'both'
        )
    return json.loads(card.read_text(encoding='utf-8'))


# mmengine logs what follows `load_from_` in the name.
def load_from_exported_file(path: str, map_location: Any = None) -> dict[str, Any]:
    """Let ``ExportedRecognizer`` find an exported file where others find weights.

    Args:
        path: A file that ends in .onnx, .pt or .pt2.
        map_location: Device of the tensors of a checkpoint that ends in .pt, too.
            Default: None.

    Returns:
        A checkpoint with the path and the class names of the file.

    Raises:
        FileNotFoundError: If the file or its description does not exist.
    """
    path = os.path.expanduser(path)
    if path.lower().endswith('.pt') and not _is_torchscript(path):
        return CheckpointLoader._schemes[''](path, map_location)
    if not os.path.isfile(path):
        raise FileNotFoundError(f'the exported file {path} does not exist')
    meta = dict(dataset_meta=dict(classes=tuple(_read_card(path)['classes'])))
    return dict(state_dict={_KEY: path}, meta=meta)


def _is_torchscript(path: str) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith('/constants.pkl') for name in archive.namelist())


def register_exported_files() -> None:
    """Make mmengine take exported files wherever it reads checkpoints."""
    CheckpointLoader.register_scheme(_LOCAL_FILE, load_from_exported_file, force=True)
