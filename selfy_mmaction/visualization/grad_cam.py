# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Grad-CAM: where a network finds evidence for a class (supplement, Section D)."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmaction.models import Recognizer2D, Recognizer3D
from mmengine.dataset import pseudo_collate
from torch import Tensor

from selfy_mmaction.inference.predictor import class_probabilities
from selfy_mmaction.ops import check_int

from .grad_cam_layers import HEAD_INPUT, LayerGradCAM, find_layer
from .recording import frames_per_view


@dataclass(frozen=True, eq=False)
class ExplainedClip:
    """A clip and the importance of its pixels for a class.

    Attributes:
        frames: Frames that the network saw, (T, H, W, 3), uint8, RGB.
        maps: Importance, (T, H, W), float32. The clip is scaled to 0..1; all zero if no
            position speaks for the class.
        label: The explained class.
        probabilities: Probability of each class, (C,), float64, as in a ``Prediction``:
            the average over all views.
        layer: Name of the layer whose features are explained.
        view: Which view (crop, or clip of a longer video) this is, from 0.
        num_views: Number of views that the test pipeline makes of the video.
    """

    frames: np.ndarray
    maps: np.ndarray
    label: int
    probabilities: np.ndarray
    layer: str
    view: int
    num_views: int

    @property
    def predicted(self) -> int:
        """The most probable class."""
        return int(self.probabilities.argmax())

    @property
    def is_empty(self) -> bool:
        """Whether no position speaks for the class."""
        return not self.maps.any()


def grad_cam(
    model: Any,
    inputs: dict[str, Any],
    *,
    label: int | None = None,
    layer: str | None = None,
    view: int = 0,
) -> ExplainedClip:
    """Explain a class for one clip with mmaction2's Grad-CAM.

    The weight of a channel is the mean gradient of the class's score, before the
    softmax, over the positions of a frame. A map is the positive part of the weighted
    sum of the channels, interpolated to the frames. The model is the same afterwards.

    Args:
        model: A ``Recognizer2D`` or ``Recognizer3D``, in single precision.
        inputs: One clip, as its test pipeline packs it: ``inputs`` and
            ``data_samples``.
        label: Class to explain. Default: None, the most probable class.
        layer: Name of a layer, as in ``named_modules``, whose output has a position for
            each feature. Default: None, what the head gets, before its pooling; of
            SlowFast, the slow pathway.
        view: View to explain, from 0. A test pipeline may cut several crops or clips
            from a video. Default: 0, the first one.

    Returns:
        The map of the clip.

    Raises:
        TypeError: If the model is no such recognizer, or ``inputs`` is not one clip.
        ValueError: If a class, layer or view does not exist, the layer's output has no
            positions, or the scores do not depend on it.

    Example:
        >>> from selfy_mmaction.checkpoints import SAMPLE_CLIP
        >>> from selfy_mmaction.inference import Predictor
        >>> from selfy_mmaction.visualization.grad_cam import grad_cam
        >>> predictor = Predictor(device='cpu')
        >>> clip = predictor.pipeline.open(str(SAMPLE_CLIP)).read_clip()
        >>> explained = grad_cam(predictor.model, clip.inputs)
        >>> explained.maps.shape, predictor.class_names[explained.predicted]
        ((8, 64, 64), 'go_right')
    """
    clips = _split_views(model, inputs)
    num_views = len(clips)
    check_int('view', view, least=0, most=num_views - 1)
    find_layer(model, layer)
    head: Any = model.cls_head
    if label is not None:
        check_int('label', label, least=0, most=head.num_classes - 1)
    sample = inputs['data_samples']
    with _unchanged(model):
        with torch.no_grad():
            # Copies: the preprocessor and the head write into what they get.
            data = pseudo_collate([dict(inputs, data_samples=copy.deepcopy(sample))])
            result = model.test_step(data)[0]
        probabilities = class_probabilities(result, head)
        if not np.isfinite(probabilities).all():
            raise ValueError('the network gives scores that are not finite')
        if label is None:
            label = int(probabilities.argmax())
        maps = _explain(model, clips[view], sample, label, layer)
    return ExplainedClip(
        frames=_as_pictures(model, clips[view]),
        maps=maps,
        label=int(label),
        probabilities=probabilities,
        layer=HEAD_INPUT if layer is None else layer,
        view=int(view),
        num_views=num_views,
    )


def _explain(
    model: Any, clip: Tensor, sample: Any, label: int, layer: str | None
) -> np.ndarray:
    """Return the map of one view, (T, H, W), float32."""
    sample = copy.deepcopy(sample).set_gt_label(int(label))
    data = dict(inputs=[clip.clone()], data_samples=[sample])
    with _unchanged(model), torch.enable_grad():
        cam = LayerGradCAM(model, layer)
        try:
            # The smallest delta: gradients may be tiny.
            maps, _ = cam._calculate_localization_map(
                data, use_labels=True, delta=torch.finfo(torch.float32).tiny
            )
        except (RuntimeError, AttributeError) as error:
            if not cam.runs:
                raise ValueError(
                    f'{cam.name} does not run when the network predicts; give another '
                    'layer'
                ) from error
            if cam.target_gradients is None:
                raise ValueError(
                    f'the scores do not depend on {cam.name}; give another layer'
                ) from error
            raise
        finally:
            cam.remove_hooks()
    if not maps.isfinite().all():
        raise ValueError(f'{cam.name} has features that are not finite')
    return maps[0].cpu().numpy()


def _split_views(model: Any, inputs: dict[str, Any]) -> list[Tensor]:
    """Check the network and its inputs, and split these into views."""
    if not isinstance(model, (Recognizer2D, Recognizer3D)):
        raise TypeError(
            f'Grad-CAM needs a Recognizer2D or Recognizer3D, not {type(model).__name__}'
        )
    if not getattr(model, 'with_cls_head', False):
        raise TypeError('Grad-CAM needs a network with a cls_head')
    kinds = {p.dtype for p in model.parameters() if p.is_floating_point()}
    if kinds - {torch.float32}:
        raise TypeError(
            f'Grad-CAM needs a network in single precision, not in '
            f'{", ".join(sorted(str(kind) for kind in kinds))}; call model.float()'
        )
    clip = inputs.get('inputs') if isinstance(inputs, dict) else None
    is_2d = isinstance(model, Recognizer2D)
    layout = '(T, 3, H, W)' if is_2d else '(V, 3, T, H, W)'
    if (
        not isinstance(clip, Tensor)
        or clip.ndim != (4 if is_2d else 5)
        or clip.shape[1] != 3
        or 'data_samples' not in inputs
    ):
        shape = tuple(clip.shape) if isinstance(clip, Tensor) else type(clip).__name__
        raise TypeError(
            "inputs must be the packed result of the network's test pipeline for one "
            f'clip of RGB frames, with inputs of shape {layout} and data_samples, but '
            f'got inputs of {shape}'
        )
    if not is_2d:
        return list(clip.split(1))
    num_segments = frames_per_view(model) or len(clip)
    if len(clip) % num_segments:
        raise ValueError(
            f'{len(clip)} frames are not clips of {num_segments} frames, which the '
            'network needs'
        )
    return list(clip.split(num_segments))


def _as_pictures(model: Any, clip: Tensor) -> np.ndarray:
    """Return the frames of a view, (T, H, W, 3), uint8, RGB."""
    frames = clip if clip.ndim == 4 else clip[0].transpose(0, 1)
    if getattr(model.data_preprocessor, 'to_rgb', False):
        frames = frames.flip(1)
    frames = frames.detach().cpu().permute(0, 2, 3, 1)
    if frames.dtype != torch.uint8:
        frames = frames.float().round().clamp(0, 255).byte()
    return frames.numpy()


@contextmanager
def _unchanged(model: Any) -> Iterator[None]:
    """Run the model in its own precision, and leave it as it was."""
    head: Any = model.cls_head
    # A head without the attribute would get it.
    average = {k: v for k, v in vars(head).items() if k == 'average_clips'}
    modes = [(module, module.training) for module in model.modules()]
    parameters = [(p, p.requires_grad, p.grad) for p in model.parameters()]
    device = next((p.device.type for p, *_ in parameters), 'cpu')
    try:
        model.eval()
        for parameter, *_ in parameters:
            parameter.requires_grad_(False)
        # An enclosing autocast would lose small gradients.
        with torch.inference_mode(False), torch.autocast(device, enabled=False):
            yield
    finally:
        vars(head).pop('average_clips', None)
        vars(head).update(average)
        for module, training in modes:
            module.training = training
        for parameter, requires_grad, gradient in parameters:
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient
