# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Check that data and model agree on the number of frames per clip."""

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.utils.data import DataLoader


@HOOKS.register_module()
class ClipLengthCheckHook(Hook):
    """Compare the pipelines' clips with the backbone's ``num_segments``.

    A 2D recognizer takes the frames of all clips as one batch; where the two numbers
    differ but the batch still divides, frames of different videos are compared with
    one another and nothing fails.

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
        num_segments = getattr(model.backbone, 'num_segments', None)
        pipeline = getattr(dataloader.dataset, 'pipeline', None)
        if num_segments is None or pipeline is None:
            return
        for transform in pipeline.transforms:
            if not (hasattr(transform, 'clip_len') and hasattr(transform, 'num_clips')):
                continue
            num_frames = transform.clip_len * transform.num_clips
            if num_frames != num_segments:
                raise ValueError(
                    f'{type(transform).__name__} samples {num_frames} frames per clip '
                    f'(clip_len={transform.clip_len} * num_clips='
                    f'{transform.num_clips}), but the backbone has num_segments='
                    f'{num_segments}; make them equal (and num_segments of the head)'
                )
