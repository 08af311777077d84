# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The start of the last layer in the official SELFY code."""

from typing import Any

from mmaction.models.heads import TSMHead
from mmaction.registry import MODELS
from mmengine.model import BaseModule


@MODELS.register_module()
class XavierTSMHead(TSMHead):
    """TSMHead whose last layer starts Xavier uniform, with a bias of 0.

    The host's heads draw it from N(0, ``init_std``) and ignore ``init_cfg``; this one
    follows ``init_cfg``.

    Args:
        num_classes: Number of classes.
        in_channels: Width of the features.
        init_cfg: Initialization config. Default: None, Xavier uniform.
        kwargs: As for TSMHead, without ``init_std``.

    Raises:
        ValueError: ``init_std`` is given.
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
                f'XavierTSMHead would ignore init_std={kwargs["init_std"]}; leave it '
                'out, or use TSMHead'
            )
        xavier = dict(type='Xavier', layer='Linear', distribution='uniform')
        super().__init__(
            num_classes, in_channels, init_cfg=init_cfg or xavier, **kwargs
        )

    def init_weights(self) -> None:
        """Draw the weights as ``init_cfg`` says."""
        BaseModule.init_weights(self)
