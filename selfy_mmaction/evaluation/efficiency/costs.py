# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Costs of one network: multiply-adds, memory of a training step, forward passes."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmaction.structures import ActionDataSample
from mmengine.analysis import FlopAnalyzer
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn

from ..time_and_memory import peak_bytes

# Recognizers are typed as Any: nn.Module does not declare their methods.


class _Features(nn.Module):
    """What mmaction2's ``get_flops.py`` counts, without the dict next to it."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, clips: Tensor) -> Any:
        return self.network.extract_feat(clips)[0]


def count_multiply_adds(network: Any, shape: Sequence[int]) -> int:
    """Count the multiply-adds of one clip like mmaction2's ``get_flops.py``.

    mmengine traces backbone and neck, and counts our operators, too (see
    ``engine/complexity.py``). Norms count, additions and the head do not.

    Args:
        network: Recognizer, which is put into evaluation mode.
        shape: Shape of one clip.
    """
    parameter = next(network.parameters())
    clips = torch.zeros(1, *shape, device=parameter.device, dtype=parameter.dtype)
    analyzer = FlopAnalyzer(_Features(network.eval()), clips)
    analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of the tracer, about constants
        return int(analyzer.total())


def training_step(
    network: Any,
    config: Config,
    shape: Sequence[int],
    batch_size: int,
    dtype: torch.dtype,
) -> tuple[Callable[[], Tensor], Callable[[], list[Tensor]]]:
    """Create a training step like that of mmengine's runner.

    A step is preprocessing of uint8 clips, loss, backward pass and the config's
    optimizer, by default SGD with momentum.

    Args:
        network: Recognizer, which is put into training mode.
        config: Its config.
        shape: Shape of one clip.
        batch_size: Number of clips.
        dtype: Half precision uses autocast with float32 weights.

    Returns:
        A function that runs a step and returns the loss, and one that returns what is
        in memory between steps: weights, state of the optimizer and clips.
    """
    network.train()
    device = next(network.parameters()).device
    clips = [
        torch.zeros(*shape, dtype=torch.uint8, device=device) for _ in range(batch_size)
    ]
    head: Any = getattr(network, 'cls_head', None)
    label = torch.zeros(1, dtype=torch.long)
    if getattr(head, 'multi_class', False):
        label = torch.zeros(head.num_classes)
    options = {
        # Autocast is ours: that of AmpOptimWrapper depends on the default device.
        key: value
        for key, value in (config.get('optim_wrapper') or {}).items()
        if key not in ('type', 'dtype', 'loss_scale')
    }
    options.setdefault('optimizer', dict(type='SGD', lr=0.01, momentum=0.9))
    wrapper = build_optim_wrapper(network, options)

    def step() -> Tensor:
        samples = [ActionDataSample().set_gt_label(label) for _ in clips]
        data = network.data_preprocessor(dict(inputs=clips, data_samples=samples), True)
        with torch.autocast(device.type, dtype, enabled=dtype.itemsize < 4):
            loss, _ = network.parse_losses(network(**data, mode='loss'))
        wrapper.update_params(loss)
        return loss.detach()

    def held() -> list[Tensor]:
        states = wrapper.optimizer.state.values()
        values = [value for state in states for value in state.values()]
        tensors = [*network.state_dict().values(), *values, *clips]
        return [tensor for tensor in tensors if isinstance(tensor, Tensor)]

    return step, held


def training_memory(
    network: Any,
    config: Config,
    shape: Sequence[int],
    batch_size: int,
    dtype: torch.dtype,
) -> int:
    """Measure the peak memory of a training step in bytes.

    Everything that is in memory for this network counts, see :func:`peak_bytes` for the
    device. The first step, which creates the state of the optimizer, is not measured.
    Arguments as for :func:`training_step`.
    """
    step, held = training_step(network, config, shape, batch_size, dtype)
    step()
    device = next(network.parameters()).device
    return sum(tensor.nbytes for tensor in held()) + peak_bytes(step, device)


def forward_pass(
    network: Any, shape: Sequence[int], batch_size: int
) -> Callable[[], Tensor]:
    """Create a function that computes the scores of clips without gradients.

    Args:
        network: Recognizer, which is put into evaluation mode.
        shape: Shape of one clip.
        batch_size: Number of clips.
    """
    parameter = next(network.parameters())
    clips = torch.randn(batch_size, *shape).to(parameter.device, parameter.dtype)
    network.eval()

    @torch.no_grad()
    def forward() -> Tensor:
        return network.extract_feat(clips, stage='head')[0]

    return forward
