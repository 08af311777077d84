# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Blocks that can start from the plain backbone, as in the official code."""

from typing import TYPE_CHECKING

from mmengine.model import constant_init
from torch import nn

from selfy_mmaction.ops import check_bool

from .building import Module


class ZeroInitBlock(Module):
    """Block whose last norm can start with a scale of zero.

    Subclasses define ``last_norm`` and, if a fusion follows the norm, ``fusion``. They
    call :meth:`start_at_zero` after building both.
    """

    zero_init_last_norm = False
    if TYPE_CHECKING:  # an attribute or a property

        @property
        def last_norm(self) -> nn.Module | None:
            """The norm whose scale may start at zero."""

    def start_at_zero(self, zero_init_last_norm: bool) -> None:
        """Set the scale to zero, now and whenever the weights are initialized.

        Args:
            zero_init_last_norm: Whether to start at zero.

        Raises:
            ValueError: If the block could never leave zero or has no last norm.
        """
        self.zero_init_last_norm = check_bool(
            'zero_init_last_norm', zero_init_last_norm
        )
        if not zero_init_last_norm:
            return
        if getattr(getattr(self, 'fusion', None), 'relu', None) == 'before':
            raise ValueError(
                "zero_init_last_norm=True with fusion=dict(relu='before') (Eq. 9) "
                "leaves the block permanently without a gradient, since ReLU'(0) = 0; "
                "use fusion=dict(type='ResidualFusion', relu='after') as in the "
                "official code, relu='none', or zero_init_last_norm=False"
            )
        if self.last_norm is None:
            steps = ', '.join(
                f'{name} ({type(step).__name__})'
                for name, step in self.named_children()
            )
            raise ValueError(
                f'zero_init_last_norm=True, but none of {steps} has a last_norm; use '
                "restoration=dict(type='TransposedConvRestoration') as in the official "
                'code, or zero_init_last_norm=False'
            )
        constant_init(self.last_norm, 0)

    def init_weights(self) -> None:
        """Initialize the weights, then zero the scale of the last norm if set."""
        super().init_weights()
        if self.zero_init_last_norm:
            constant_init(self.last_norm, 0)
