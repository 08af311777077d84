# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The class of a network with inserted blocks, and the hook that runs a block."""

import inspect
import uuid
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import new_class
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from .layout import FeatureLayout
from .weights import check_block_weights, is_of_block, strip_prefix


class HostOfBlocks:
    """Base that the class of a network with inserted blocks has before its own.

    ``inserted_blocks`` is the only owner of the blocks: whatever module it holds under
    a name is what runs after that layer. A block that is taken out does not run.

    Attributes:
        clip_lengths: Frames of a clip at the network's input, for each layer whose
            block groups features by a T that was fixed when it was inserted.
        new_blocks: Names of the blocks, such as 'inserted_blocks.layer2', that the
            checkpoint of a training's start may lack.
        block_hooks: The hook of each inserted block, by the block's name.
    """

    clip_lengths: Mapping[str, int] = {}
    new_blocks: frozenset[str] = frozenset()
    block_hooks: Mapping[str, 'RunBlock'] = {}
    _loaded: list[dict[str, Tensor]] | None = None

    def init_weights(self, *args, **kwargs) -> None:
        """Initialize the host as it does without blocks, then the blocks.

        Where the host loads a checkpoint (``pretrained``, ``init_cfg``) that has
        weights for the blocks, they are loaded too. The log says which it was.

        Args:
            args: Of the host's ``init_weights``.
            kwargs: Of the host's ``init_weights``.

        Raises:
            ValueError: The checkpoint has weights for other blocks.
        """
        # The host's loaders look up every ConvModule they find in the checkpoint,
        # and its init_cfg would overwrite the blocks' own initialization.
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

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if self.is_initializing:
            self._loaded.append(strip_prefix(state_dict, prefix))
            unexpected_keys = args[3]
            unexpected_keys[:] = [k for k in unexpected_keys if not is_of_block(k)]

    @property
    def is_initializing(self) -> bool:
        """Whether the host is in :meth:`init_weights`, where its blocks are hidden."""
        return self._loaded is not None

    def train(self, mode: bool = True):
        """Set the mode; freezing concerns the host's layers, not the blocks.

        ``frozen_stages``, ``norm_eval`` and ``partial_bn`` protect pretrained
        statistics, which a block does not have.

        Args:
            mode: Training or evaluation mode. Default: True.

        Returns:
            The network.
        """
        with without_inserted_blocks(self):
            super().train(mode)
        if hasattr(self, 'inserted_blocks'):
            self.inserted_blocks.train(mode)
        return self

    def __reduce_ex__(self, protocol: int) -> tuple:
        # Pickle looks classes up by name, where it finds the host's own.
        reduced = super().__reduce_ex__(protocol)
        base = vars(type(self)).get('_class_of_host')
        return reduced if base is None else (_new_host, (base,), *reduced[2:])


def add_block(
    host: nn.Module,
    after: str,
    block: nn.Module,
    layout: FeatureLayout | None,
    output: Hashable | None,
    new: bool,
) -> None:
    """Make a network a host and run a block on the output of a layer.

    Args:
        host: The network. Its class becomes one of the same name, derived from its own
            and :class:`HostOfBlocks`.
        after: Name of the layer, as in ``host.named_modules()``.
        block: The block; it becomes ``host.inserted_blocks[block_name(after)]``.
        layout: Layout of the features; None hands them over as they are.
        output: Index or key, where the layer gives several tensors, else None.
        new: Whether the checkpoint that a training starts from may lack the block.
    """
    if not isinstance(host, HostOfBlocks):
        host.__class__ = _class_with_blocks(type(host))
    if 'inserted_blocks' not in host._modules:
        host.inserted_blocks = nn.ModuleDict()
    if not host.block_hooks:
        host.register_forward_pre_hook(bind_hooks)
    name = block_name(after)
    if name in host.block_hooks:  # of a block that was taken out
        _remove_hook(host, host.block_hooks[name])
    host.inserted_blocks[name] = block
    hook = RunBlock(host, after, block, layout, output)
    host.block_hooks = {**host.block_hooks, name: hook}
    if new:
        host.new_blocks = host.new_blocks | {f'inserted_blocks.{name}'}
    host.get_submodule(after).register_forward_hook(hook)


def block_name(after: str) -> str:
    """Name of a block in ``inserted_blocks``.

    Args:
        after: Name of the layer.

    Returns:
        The name with dashes for dots, which module names cannot hold.
    """
    return after.replace('.', '-')


@contextmanager
def without_inserted_blocks(host: nn.Module) -> Iterator[None]:
    """Hide the inserted blocks from code of the host that walks its modules.

    Args:
        host: A network that may have inserted blocks.
    """
    blocks = host._modules.pop('inserted_blocks', None)
    try:
        yield
    finally:
        if blocks is not None:
            host._modules['inserted_blocks'] = blocks


class RunBlock:
    """Forward hook of a layer: runs the block that its host holds.

    An object that refers to the host: a deep copy of the host, such as an EMA model,
    copies both and runs its own block.

    Args:
        host: The network.
        after: Name of the layer.
        block: The block at the time of its insertion.
        layout: Layout of the features, or None.
        output: Index or key of the layer's output, or None.
    """

    def __init__(
        self,
        host: nn.Module,
        after: str,
        block: nn.Module,
        layout: FeatureLayout | None,
        output: Hashable | None,
    ) -> None:
        self.host = host
        self.after = after
        self.layout = layout
        self.output = output
        self.key = uuid.uuid4().hex
        self._type = type(block)
        self._takes_num_segments = takes_num_segments(block, default=False)
        self._passes_num_segments = self._takes_num_segments

    def on(self, host: nn.Module) -> 'RunBlock':
        """The same hook for another host.

        Args:
            host: A replica of the host.

        Returns:
            A copy that runs the replica's block.
        """
        hook = object.__new__(RunBlock)
        hook.__dict__.update(self.__dict__, host=host)
        return hook

    def __call__(self, layer: nn.Module, args: tuple, output: Any) -> Any:
        block = self._block()
        if block is None:
            return output
        if self.output is None:
            return self._run(block, output)
        changed = self._run(block, output[self.output])
        if isinstance(output, Mapping):
            return type(output)({**output, self.output: changed})
        items = list(output)
        items[self.output] = changed
        if hasattr(output, '_fields'):
            return type(output)(*items)
        return type(output)(items)

    def _block(self) -> nn.Module | None:
        blocks = self.host._modules.get('inserted_blocks')
        name = block_name(self.after)
        block = blocks[name] if blocks is not None and name in blocks else None
        if block is not None and type(block) is not self._type:
            # Swapped or wrapped since. A wrapper's forward often takes anything.
            self._passes_num_segments = takes_num_segments(
                block, default=self._takes_num_segments
            )
            self._type = type(block)
        return block

    def _run(self, block: nn.Module, features: Tensor) -> Tensor:
        if self.layout is None:
            return block(features)

        def on_frames(frames: Tensor, num_segments: int) -> Tensor:
            if self._passes_num_segments:
                return block(frames, num_segments=num_segments)
            return block(frames)

        return self.layout.run(on_frames, features)


def takes_num_segments(block: nn.Module, default: bool) -> bool:
    """Whether a block's ``forward`` has an argument ``num_segments``.

    Args:
        block: The block, or what wraps it.
        default: The answer for a ``forward`` that takes any keyword.

    Returns:
        The answer; for a wrapper that of its ``module``.
    """
    parameters = inspect.signature(block.forward).parameters
    if 'num_segments' in parameters:
        return True
    if all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
        return False
    wrapped = getattr(block, 'module', None)
    if isinstance(wrapped, nn.Module):
        return takes_num_segments(wrapped, default)
    return default


def bind_hooks(host: nn.Module, args: tuple = ()) -> None:
    """Forward pre-hook of the host: each layer runs this host's block, and only once.

    ``nn.DataParallel`` makes replicas whose layers share the hooks of the original,
    and adapters put another module in a layer's place.

    Args:
        host: The network, or a replica of it.
        args: Unused; of a pre-hook.

    Raises:
        RuntimeError: A layer is gone.
    """
    for hook in host.block_hooks.values():
        try:
            layer = host.get_submodule(hook.after)
        except AttributeError as error:
            layer = _layer_with(host, hook)
            if layer is None:
                raise RuntimeError(
                    f'{type(host).__name__} no longer has the layer {hook.after!r} '
                    f'that an inserted block follows ({error}); put the layer back, or '
                    f'delete inserted_blocks[{block_name(hook.after)!r}]'
                ) from error
        for number, present in layer._forward_hooks.items():
            if _is_same(present, hook):
                if present.host is not host:
                    hooks = layer._forward_hooks.copy()
                    hooks[number] = hook.on(host)
                    layer._forward_hooks = hooks
                break
        else:
            _remove_hook(host, hook)
            layer.register_forward_hook(hook)


def _is_same(present: Any, hook: RunBlock) -> bool:
    return isinstance(present, RunBlock) and present.key == hook.key


def _layer_with(host: nn.Module, hook: RunBlock) -> nn.Module | None:
    for module in host.modules():
        if any(_is_same(present, hook) for present in module._forward_hooks.values()):
            return module
    return None


def _remove_hook(host: nn.Module, hook: RunBlock) -> None:
    layer = _layer_with(host, hook)
    if layer is not None:
        for number, present in list(layer._forward_hooks.items()):
            if _is_same(present, hook):
                del layer._forward_hooks[number]


@cache
def _class_with_blocks(host_class: type) -> type:
    """The host's class with :class:`HostOfBlocks` before it, under the same name."""
    names = ('__module__', '__qualname__', '__doc__')
    namespace = {name: getattr(host_class, name) for name in names}
    namespace['_class_of_host'] = host_class
    return new_class(
        host_class.__name__,
        (HostOfBlocks, host_class),
        exec_body=lambda body: body.update(namespace),
    )


def _new_host(host_class: type) -> nn.Module:
    made = _class_with_blocks(host_class)
    return made.__new__(made)
