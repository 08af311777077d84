# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Networks with inserted blocks."""

from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import new_class
from typing import TYPE_CHECKING, Any, SupportsIndex, cast

from mmengine.logging import print_log
from torch import Tensor, nn

from .block_hook import RunBlock, bind_hooks, block_name, remove_hook
from .layout import FeatureLayout
from .weights import check_block_weights, is_of_block, strip_prefix

if TYPE_CHECKING:
    from mmengine.model import BaseModule as _Host  # the class it is mixed into
    from typing_extensions import Self
else:
    _Host = object


class HostOfBlocks(_Host):
    """Mixin for the class of a network with inserted blocks.

    ``inserted_blocks`` owns the blocks: the module that it has under a name runs after
    the layer of that name. A block that is removed from it does not run.

    Attributes:
        clip_lengths: Frames per clip at the network's input, by layer, for blocks that
            group features by a T fixed at insertion.
        new_blocks: Names of the blocks, such as 'inserted_blocks.layer2', that the
            checkpoint from which training starts may lack.
        block_hooks: Hook of each inserted block, by name of the block.

    Example:
        >>> from torch import nn
        >>> from selfy_mmaction.models import HostOfBlocks, insert_block
        >>> network = nn.Module()
        >>> network.stem = nn.Conv2d(3, 8, kernel_size=3)
        >>> insert_block(network, after='stem', block=nn.ReLU())
        >>> isinstance(network, HostOfBlocks), network.has_block_after('stem')
        (True, True)
        >>> network.inserted_blocks
        ModuleDict(
          (stem): ReLU()
        )
    """

    inserted_blocks: nn.ModuleDict
    clip_lengths: Mapping[str, int] = {}
    new_blocks: frozenset[str] = frozenset()
    block_hooks: Mapping[str, RunBlock] = {}
    _loaded: list[dict[str, Tensor]] | None = None

    def has_block_after(self, layer: str) -> bool:
        """Whether a layer is followed by a block.

        Args:
            layer: Name of the layer.

        Returns:
            The answer.
        """
        return block_name(layer) in self._modules.get('inserted_blocks', {})

    def init_weights(self, *args: Any, **kwargs: Any) -> None:
        """Initialize the host as without blocks, then the blocks.

        If the host loads a checkpoint (``pretrained``, ``init_cfg``) that has weights
        for the blocks, they are loaded, too. The log shows whether they were.

        Args:
            args: Positional arguments of the host's ``init_weights``.
            kwargs: Keyword arguments of the host's ``init_weights``.

        Raises:
            ValueError: If the checkpoint has weights for different blocks.
        """
        # Hide the blocks: the host's loaders expect every ConvModule in the checkpoint,
        # and its init_cfg would overwrite the blocks' initialization.
        loaded = self._loaded = []
        try:
            if hasattr(super(), 'init_weights'):
                with without_inserted_blocks(self):
                    super().init_weights(*args, **kwargs)
        finally:
            del self._loaded
        blocks = self._modules.get('inserted_blocks')
        if not blocks:
            return
        for block in blocks.values():
            if hasattr(block, 'init_weights'):
                block.init_weights()
        if loaded and any(map(is_of_block, loaded[-1])):
            check_block_weights(self, loaded[-1])
            blocks.load_state_dict(strip_prefix(loaded[-1], 'inserted_blocks.'))
            state = 'have the weights of the checkpoint'
        else:
            state = 'start from their own initialization'
        print_log(
            f'Inserted blocks of {type(self).__name__} after {", ".join(blocks)} '
            f'{state}.',
            logger='current',
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if self._loaded is not None:
            self._loaded.append(strip_prefix(state_dict, prefix))
            unexpected_keys = args[3]
            unexpected_keys[:] = [k for k in unexpected_keys if not is_of_block(k)]

    @property
    def is_initializing(self) -> bool:
        """Whether :meth:`init_weights` is running, which hides the blocks."""
        return self._loaded is not None

    def train(self, mode: bool = True) -> 'Self':
        """Set training or evaluation mode, and freeze the host's layers only.

        ``frozen_stages``, ``norm_eval`` and ``partial_bn`` protect pretrained weights
        and statistics, which a block does not have.

        Args:
            mode: True for training, False for evaluation. Default: True.

        Returns:
            The network.
        """
        with without_inserted_blocks(self):
            super().train(mode)
        if hasattr(self, 'inserted_blocks'):
            self.inserted_blocks.train(mode)
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        # Pickle looks up classes by name, and would find the host's original class.
        reduced = super().__reduce_ex__(protocol)
        base = vars(type(self)).get('_class_of_host')
        if base is None or isinstance(reduced, str):
            return reduced
        return _new_host, (base,), *reduced[2:]


def add_block(
    host: nn.Module,
    after: str,
    block: nn.Module,
    layout: FeatureLayout | None,
    output: Hashable | None,
    new: bool,
) -> None:
    """Turn a network into a host and run a block on the output of a layer.

    Args:
        host: The network. Its class is replaced by one of the same name, derived from
            :class:`HostOfBlocks` and the original class.
        after: Name of the layer, as in ``host.named_modules()``.
        block: The block; stored as ``host.inserted_blocks[block_name(after)]``.
        layout: Layout of the features, or None to pass them unchanged.
        output: Index or key of the features if the layer returns several tensors, else
            None.
        new: Whether the checkpoint from which training starts may lack the block.
    """
    if not isinstance(host, HostOfBlocks):
        own_class: type = type(host)
        host.__class__ = _class_with_blocks(own_class)
    host = cast(HostOfBlocks, host)
    if 'inserted_blocks' not in host._modules:
        host.inserted_blocks = nn.ModuleDict()
    if not host.block_hooks:
        host.register_forward_pre_hook(bind_hooks)
    name = block_name(after)
    if name in host.block_hooks:  # of a block that was removed
        remove_hook(host, host.block_hooks[name])
    host.inserted_blocks[name] = block
    hook = RunBlock(host, after, block, layout, output)
    host.block_hooks = {**host.block_hooks, name: hook}
    if new:
        host.new_blocks = host.new_blocks | {f'inserted_blocks.{name}'}
    host.get_submodule(after).register_forward_hook(hook)


@contextmanager
def without_inserted_blocks(host: nn.Module) -> Iterator[None]:
    """Hide the inserted blocks from host code that iterates over modules.

    Args:
        host: A network that may have inserted blocks.

    Example:
        >>> from mmaction.models import ResNet
        >>> from selfy_mmaction.models import SELFYBlock, insert_block
        >>> from selfy_mmaction.models import without_inserted_blocks
        >>> backbone = ResNet(depth=18)
        >>> insert_block(backbone, after='layer2', block=SELFYBlock(in_channels=128))
        >>> with without_inserted_blocks(backbone):
        ...     print(any(isinstance(each, SELFYBlock) for each in backbone.modules()))
        False
    """
    blocks = host._modules.pop('inserted_blocks', None)
    try:
        yield
    finally:
        if blocks is not None:
            host._modules['inserted_blocks'] = blocks


@cache
def _class_with_blocks(host_class: type) -> type:
    """Derive a class of the same name from :class:`HostOfBlocks` and ``host_class``."""
    names = ('__module__', '__qualname__', '__doc__')
    namespace = {name: getattr(host_class, name) for name in names}
    namespace['_class_of_host'] = host_class
    return new_class(
        host_class.__name__,
        (HostOfBlocks, host_class),
        exec_body=lambda body: body.update(namespace),
    )


def _new_host(host_class: type) -> nn.Module:
    made: Any = _class_with_blocks(host_class)
    return made.__new__(made)
