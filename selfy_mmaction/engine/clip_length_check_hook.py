# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Check that data and model agree on the number of frames per clip."""

from collections.abc import Iterator

from mmaction.models import Recognizer2D
from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader


@HOOKS.register_module()
class ClipLengthCheckHook(Hook):
    """Compare the pipelines' clips with those that the model was made for.

    These are the ``num_segments`` of the backbone and, in networks of frames, of the
    neck; and, for blocks that group features by a fixed T, the T of the ``input_shape``
    they were inserted with. A 2D recognizer takes the frames of all clips as one batch;
    where the two numbers differ but the batch still divides, frames of different videos
    are compared with one another and nothing fails. Networks that show the T of each
    clip may be given any.

    Raises:
        ValueError: The pipeline samples another number of frames per clip.
    """

    def before_train(self, runner: Runner) -> None:
        """Check the training and the validation pipeline."""
        self._check(runner, runner.train_dataloader)
        if runner.val_loop is not None:
            self._check(runner, runner.val_dataloader)

    def before_val(self, runner: Runner) -> None:
        """Check the validation pipeline."""
        self._check(runner, runner.val_dataloader)

    def before_test(self, runner: Runner) -> None:
        """Check the test pipeline."""
        self._check(runner, runner.test_dataloader)

    def _check(self, runner: Runner, dataloader: DataLoader) -> None:
        model = runner.model
        model = model.module if is_model_wrapper(model) else model
        pipeline = getattr(dataloader.dataset, 'pipeline', None)
        expected = list(_clip_lengths(model))
        if pipeline is None or not expected:
            return
        for transform in pipeline.transforms:
            if not (hasattr(transform, 'clip_len') and hasattr(transform, 'num_clips')):
                continue
            num_frames = transform.clip_len * transform.num_clips
            for advice, length in expected:
                # Clips of several frames are several clips, one after the other.
                if length not in (num_frames, transform.clip_len):
                    raise ValueError(
                        f'{type(transform).__name__} samples {num_frames} frames per '
                        f'clip (clip_len={transform.clip_len} * num_clips='
                        f'{transform.num_clips}), but {advice}'
                    )


def _clip_lengths(model: nn.Module) -> Iterator[tuple[str, int]]:
    """What is expected in words, and the frames of a clip."""
    backbone_length = getattr(model.backbone, 'num_segments', None)
    if backbone_length is not None:
        yield (
            f'the backbone has num_segments={backbone_length}; make them equal (and '
            'num_segments of the head)',
            backbone_length,
        )
    # Networks of clips may stride over time before the neck.
    if isinstance(model, Recognizer2D) and model.with_neck:
        neck_length = getattr(model.neck, 'num_segments', None)
        if neck_length is not None:
            yield (
                f'the neck has num_segments={neck_length}; make them equal',
                neck_length,
            )
    for module in model.modules():
        for layer, length in getattr(module, 'clip_lengths', {}).items():
            yield (
                f'the block after {layer!r} was inserted for clips of {length} frames '
                'and groups them by that; make them equal, here or in input_shape of '
                'InsertBlocks',
                length,
            )
