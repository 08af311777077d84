# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Blocks that can start from the backbone alone, as the released code's does."""

from typing import TYPE_CHECKING

from mmengine.model import constant_init
from torch import nn

from selfy_mmaction.ops import check_bool

from .building import Module


class ZeroInitBlock(Module):
    """A block whose last norm's scale may start at zero.

    A subclass has ``last_norm``, and ``fusion`` where the norm is followed by one; it
    calls :meth:`start_at_zero` when both are built.
    """

    zero_init_last_norm = False
    if TYPE_CHECKING:  # an attribute or a property

        @property
        def last_norm(self) -> nn.Module | None: ...

    def start_at_zero(self, zero_init_last_norm: bool) -> None:
        """Set the scale to zero, now and whenever the weights are initialized.

        Args:
            zero_init_last_norm: Whether to do so.

        Raises:
            ValueError: The block could never leave zero, or has no norm there.
        """
        self.zero_init_last_norm = check_bool(
            'zero_init_last_norm', zero_init_last_norm
        )
        if not zero_init_last_norm:
            return
        if getattr(getattr(self, 'fusion', None), 'relu', None) == 'before':
            raise ValueError(
                "zero_init_last_norm=True with fusion=dict(relu='before') (Eq. 9) "
                "leaves the block without a gradient for ever, since ReLU'(0) = 0; "
                "use fusion=dict(type='ResidualFusion', relu='after') as the "
                "authors' code does, relu='none', or zero_init_last_norm=False"
            )
        if self.last_norm is None:
            steps = ', '.join(
                f'{name} ({type(step).__name__})'
                for name, step in self.named_children()
            )
            raise ValueError(
                f'zero_init_last_norm=True, but none of {steps} has a last_norm; use '
                "restoration=dict(type='TransposedConvRestoration') as the authors' "
                'code does, or zero_init_last_norm=False'
            )
        constant_init(self.last_norm, 0)

    def init_weights(self) -> None:
        """Initialize the weights; the last norm's scale as the option says."""
        super().init_weights()
        if self.zero_init_last_norm:
            constant_init(self.last_norm, 0)
