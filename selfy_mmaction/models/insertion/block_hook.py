# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Forward hook that runs an inserted block after a layer."""

import inspect
import uuid
from collections.abc import Hashable, Mapping
from copy import copy
from typing import Any, TypeGuard, cast

from torch import Tensor, nn

from .layout import FeatureLayout


def block_name(after: str) -> str:
    """Return the name of a block in ``inserted_blocks``.

    Args:
        after: Name of the layer.

    Returns:
        The layer's name with dots, which module names cannot contain, replaced by
        dashes.
    """
    return after.replace('.', '-')


class RunBlock:
    """Forward hook of a layer that runs the block stored in its host.

    The hook refers to the host and not to the block, so a deep copy of the host, such
    as an EMA model, copies the hook as well and runs its own block.

    Args:
        host: The network.
        after: Name of the layer.
        block: The block at the time of insertion.
        layout: Layout of the features, or None to pass them unchanged.
        output: Index or key of the features in the layer's output, or None if the
            output is a tensor.
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
        self.output: Any = output
        self.key = uuid.uuid4().hex
        self._type = type(block)
        self._takes_num_segments = takes_num_segments(block, default=False)
        self._passes_num_segments = self._takes_num_segments

    def on(self, host: nn.Module) -> 'RunBlock':
        """Copy the hook for a replica of the host.

        Args:
            host: A replica of the host.

        Returns:
            A copy that runs the replica's block.
        """
        hook = copy(self)
        hook.host = host
        return hook

    def __call__(self, layer: nn.Module, args: tuple, output: Any) -> Any:
        """Run the block on the layer's output.

        Args:
            layer: The layer.
            args: Positional arguments of the layer. Unused.
            output: Output of the layer.

        Returns:
            The output with the features replaced by those of the block; unchanged if
            the host no longer has a block here.
        """
        block = self._block()
        if block is None:
            return output
        if self.output is None:
            return self._run(block, output)
        changed = self._run(block, output[self.output])
        kind = type(output)
        if isinstance(output, Mapping):
            return kind({**output, self.output: changed})
        items = list(output)
        items[self.output] = changed
        if hasattr(output, '_fields'):
            return kind(*items)
        return kind(items)

    def _block(self) -> nn.Module | None:
        blocks = cast(Any, self.host._modules.get('inserted_blocks'))
        name = block_name(self.after)
        block = blocks[name] if blocks is not None and name in blocks else None
        if block is not None and type(block) is not self._type:
            # The block was replaced or wrapped after insertion. The forward of a
            # wrapper often takes **kwargs.
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
    """Check whether a block's ``forward`` has an argument ``num_segments``.

    Args:
        block: The block, or a wrapper around it.
        default: Result if ``forward`` takes any keyword argument.

    Returns:
        Whether it has; for a wrapper, whether its ``module`` has.
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
    """Make each layer run this host's block once; a forward pre-hook of the host.

    Replicas created by ``nn.DataParallel`` share the hooks of the original's layers,
    and adapters replace layers by other modules.

    Args:
        host: The network, a :class:`HostOfBlocks`, or a replica of it.
        args: Positional arguments of the host. Unused.

    Raises:
        RuntimeError: If the layer before a block no longer exists.
    """
    hooks: Mapping[str, RunBlock] = cast(Any, host).block_hooks
    for hook in hooks.values():
        try:
            layer = host.get_submodule(hook.after)
        except AttributeError as error:
            moved = _layer_with(host, hook)
            if moved is None:
                raise RuntimeError(
                    f'{type(host).__name__} no longer has the layer {hook.after!r}, '
                    f'after which a block was inserted ({error}); restore the layer, '
                    f'or delete inserted_blocks[{block_name(hook.after)!r}]'
                ) from error
            layer = moved
        for number, present in layer._forward_hooks.items():
            if _is_same(present, hook):
                if present.host is not host:
                    rebound = layer._forward_hooks.copy()
                    rebound[number] = hook.on(host)
                    layer._forward_hooks = rebound
                break
        else:
            remove_hook(host, hook)
            layer.register_forward_hook(hook)


def _is_same(present: Any, hook: RunBlock) -> TypeGuard[RunBlock]:
    return isinstance(present, RunBlock) and present.key == hook.key


def _layer_with(host: nn.Module, hook: RunBlock) -> nn.Module | None:
    for module in host.modules():
        if any(_is_same(present, hook) for present in module._forward_hooks.values()):
            return module
    return None


def remove_hook(host: nn.Module, hook: RunBlock) -> None:
    """Remove a hook from the layer that has it, if any.

    Args:
        host: The network.
        hook: The hook.
    """
    layer = _layer_with(host, hook)
    if layer is not None:
        for number, present in list(layer._forward_hooks.items()):
            if _is_same(present, hook):
                del layer._forward_hooks[number]
