# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Convolution, norm and activation as mmcv has them, in the fastest form."""

from typing import Any

import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks.conv_module import efficient_conv_bn_eval_forward
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from selfy_mmaction.ops import conv2d_small_maps

# Beyond, the zeros of the dense matrix cost more than they save.
_MOST_POSITIONS = 400


@MODELS.register_module()
class SmallMapConv2d(nn.Conv2d):
    """``torch.nn.Conv2d`` for many maps of a few positions.

    Parameters and results are those of ``Conv2d``. A kernel that covers the whole map
    is a linear layer. A single channel is convolved on a CPU by one product with a
    dense matrix (:func:`selfy_mmaction.ops.conv2d_small_maps`), except under autocast.
    Gradients of 1x1 kernels have the strides of the weights, also where the features
    have channels last; torch's do not, of which distributed training warns.
    """

    def _conv_forward(
        self, input: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        sizes = input.shape[2:]
        if self.kernel_size == (1, 1):
            weight = weight.flatten(1)[..., None, None]
        if self.padding == (0, 0) and sizes == self.kernel_size:
            if input.is_contiguous(memory_format=torch.channels_last):
                input, weight = (x.permute(0, 2, 3, 1) for x in (input, weight))
            return F.linear(input.flatten(1), weight.flatten(1), bias)[..., None, None]
        if (
            self.in_channels == 1
            and isinstance(self.padding, tuple)
            and sizes.numel() <= _MOST_POSITIONS
            and input.device.type == 'cpu'
            and input.dtype in (torch.float32, torch.float64)
            and not torch.is_autocast_enabled('cpu')
        ):
            return conv2d_small_maps(input, weight, bias, self.stride, self.padding)
        return super()._conv_forward(input, weight, bias)


class FoldingConvModule(ConvModule):
    """mmcv's ``ConvModule`` that folds a batch norm in evaluation mode.

    Its convolution is a :class:`SmallMapConv2d`, unless ``conv_cfg`` says otherwise.

    The running statistics scale the weights instead of the features. mmcv's own
    ``efficient_conv_bn_eval`` does the same, but replaces a method in each forward
    pass, which ``torch.compile`` does not take in one graph.
    """

    def __init__(
        self, *args: Any, conv_cfg: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        # The class, not its name: mmcv looks names up in mmengine's registry.
        conv_cfg = conv_cfg or dict(type=SmallMapConv2d)
        super().__init__(*args, conv_cfg=conv_cfg, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """Convolution, norm and activation.

        Args:
            x: As the convolution takes it.

        Returns:
            As the convolution gives it.
        """
        norm = self.norm
        if not isinstance(norm, _BatchNorm):
            return super().forward(x)
        if not norm.training and norm.track_running_stats:
            return self._activate(efficient_conv_bn_eval_forward(norm, self.conv, x))
        x = self.conv(x)
        # Contiguous features aside, torch on a CPU sums with channels last in float32
        # one after the other: wrong in the fourth digit for a million positions. As one
        # long row a channel it does not, and many small maps are faster, too.
        if x.device.type != 'cpu' or (x.is_contiguous() and min(x.shape) > 1):
            return self._activate(norm(x))
        positions = x.movedim(1, -1)
        rows = positions.flatten(0, -2).T.contiguous()
        out = norm(rows.view(1, len(rows), *(1,) * (x.dim() - 3), -1))
        # The index is for the gradient, which it makes contiguous: where a size is 1,
        # torch takes one in another layout for what it is not.
        out = out[0].view_as(rows).T.contiguous()
        return self._activate(out).view(positions.shape).movedim(-1, 1)

    def _activate(self, x: Tensor) -> Tensor:
        return self.activate(x) if self.with_activation else x
