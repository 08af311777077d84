# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Sanity check of Grad-CAM: its maps must depend on the weights."""

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import ConstantInputWarning, spearmanr
from torch import nn

from .grad_cam import grad_cam

#: Part of the first step, which randomizes nothing.
NOTHING = 'nothing'


class RandomizationStep(NamedTuple):
    """One step of :func:`randomization_check`.

    Attributes:
        part: Part of the network that is randomized in this step, in addition to those
            of the steps before.
        correlation: Spearman's rank correlation of the map with that of the network, -1
            to 1; NaN if one of them is empty.
    """

    part: str
    correlation: float


def randomization_check(
    model: Any,
    inputs: dict[str, Any],
    *,
    label: int | None = None,
    layer: str | None = None,
    view: int = 0,
    seed: int = 0,
) -> list[RandomizationStep]:
    """Compare the map of a clip with the maps of ever more random networks.

    Weights are randomized from the head to the first layer ("cascading randomization"
    of Adebayo et al., 2018), by shuffling each parameter, which keeps the scale of the
    features. A map that stays the same does not explain the network. The
    model is the same afterwards: a copy is randomized.

    Args:
        model: See :func:`grad_cam`.
        inputs: See :func:`grad_cam`.
        label: See :func:`grad_cam`. All maps explain this class.
        layer: See :func:`grad_cam`.
        view: See :func:`grad_cam`.
        seed: Seed of the shuffling. Default: 0.

    Returns:
        The steps. The first one randomizes nothing, and its correlation is 1, or NaN if
        the map is empty.

    Raises:
        TypeError: See :func:`grad_cam`.
        ValueError: See :func:`grad_cam`.

    Example:
        >>> from selfy_mmaction.checkpoints import SAMPLE_CLIP
        >>> from selfy_mmaction.inference import Predictor
        >>> from selfy_mmaction.visualization.grad_cam_check import randomization_check
        >>> predictor = Predictor(device='cpu')
        >>> clip = predictor.pipeline.open(str(SAMPLE_CLIP)).read_clip()
        >>> steps = randomization_check(predictor.model, clip.inputs)
        >>> [step.part for step in steps]
        ['nothing', 'cls_head', 'backbone.layer4', ..., 'backbone.conv1']
    """
    original = grad_cam(model, inputs, label=label, layer=layer, view=view)
    randomized = copy.deepcopy(model)

    def compare(part: str) -> RandomizationStep:
        found = grad_cam(
            randomized, inputs, label=original.label, layer=layer, view=view
        )
        return RandomizationStep(part, _rank_correlation(original.maps, found.maps))

    with _recording_runs(randomized) as names:
        steps = [compare(NOTHING)]
    generator = torch.Generator().manual_seed(seed)
    for part in _parts_from_the_head(randomized, names):
        for parameter in randomized.get_submodule(part).parameters():
            order = torch.randperm(parameter.numel(), generator=generator)
            shuffled = parameter.detach().flatten()[order.to(parameter.device)]
            parameter.data = shuffled.view_as(parameter)
        steps.append(compare(part))
    return steps


def show_randomization(steps: Sequence[RandomizationStep]) -> str:
    """Format the steps of a check as text, one line per step.

    Example:
        >>> from selfy_mmaction.visualization import grad_cam_check
        >>> step = grad_cam_check.RandomizationStep
        >>> steps = [step('nothing', 1.0), step('cls_head', 0.31)]
        >>> print(grad_cam_check.show_randomization(steps))
        Rank correlation with the map after randomizing, one after the other,
          nothing    1.00
          cls_head   0.31
    """
    width = max(len(step.part) for step in steps)
    lines = ['Rank correlation with the map after randomizing, one after the other,']
    for step in steps:
        figure = 'none: nothing in the clip speaks for the class'
        if not np.isnan(step.correlation):
            figure = f'{step.correlation:5.2f}'
        lines.append(f'  {step.part:<{width}}  {figure}')
    return '\n'.join(lines)


@contextmanager
def _recording_runs(model: nn.Module) -> Iterator[list[str]]:
    """Record the names of the layers with parameters in the order of their runs."""
    names: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: names.append(name))
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    try:
        yield names
    finally:
        for hook in hooks:
            hook.remove()


def _parts_from_the_head(model: nn.Module, names: Sequence[str]) -> list[str]:
    """Return the head, the neck and the stages of the backbone, last one first."""
    parts: dict[str, None] = {}
    for name in reversed(names):
        length = 1
        if name.startswith('backbone.'):
            length = 2
            # A container, such as inserted_blocks, does not run itself.
            inner = model.get_submodule('.'.join(name.split('.')[:2]))
            length += isinstance(inner, (nn.ModuleDict, nn.ModuleList))
        parts['.'.join(name.split('.')[:length])] = None
    return list(parts)


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ConstantInputWarning)
        return float(spearmanr(one.ravel(), other.ravel()).statistic)
