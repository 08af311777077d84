# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""TSM head with the initialization of the official SELFY code."""

from typing import Any

from mmaction.models.heads import TSMHead
from mmaction.registry import MODELS
from mmengine.model import BaseModule


@MODELS.register_module()
class XavierTSMHead(TSMHead):
    """TSMHead whose last layer is initialized with Xavier uniform and zero bias.

    mmaction2's heads draw its weight from N(0, ``init_std``) and ignore ``init_cfg``;
    this one follows ``init_cfg``.

    Args:
        num_classes: Number of classes.
        in_channels: Width of the features.
        init_cfg: Initialization config. Default: None, Xavier uniform.
        kwargs: Arguments of ``TSMHead``, except ``init_std``.

    Raises:
        ValueError: If ``init_std`` is given.

    Example:
        >>> import torch
        >>> from selfy_mmaction.models import XavierTSMHead
        >>> head = XavierTSMHead(num_classes=174, in_channels=512)
        >>> head.init_weights()
        >>> bool(head.fc_cls.weight.abs().max() <= (6 / (512 + 174)) ** 0.5)
        True
        >>> head(torch.randn(2 * 8, 512, 7, 7), num_segs=8).shape
        torch.Size([2, 174])
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        if 'init_std' in kwargs:
            raise ValueError(
                f'XavierTSMHead does not use init_std={kwargs["init_std"]}; remove it '
                'or use TSMHead'
            )
        xavier = dict(type='Xavier', layer='Linear', distribution='uniform')
        super().__init__(
            num_classes, in_channels, init_cfg=init_cfg or xavier, **kwargs
        )

    def init_weights(self) -> None:
        """Initialize the weights according to ``init_cfg``."""
        BaseModule.init_weights(self)
