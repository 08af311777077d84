# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The forward hook of a layer that runs the inserted block."""

import inspect
import uuid
from collections.abc import Hashable, Mapping
from copy import copy
from typing import Any, TypeGuard, cast

from torch import Tensor, nn

from .layout import FeatureLayout


def block_name(after: str) -> str:
    """Name of a block in ``inserted_blocks``.

    Args:
        after: Name of the layer.

    Returns:
        The name with dashes for dots, which module names cannot hold.
    """
    return after.replace('.', '-')


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
        self.output: Any = output
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
        hook = copy(self)
        hook.host = host
        return hook

    def __call__(self, layer: nn.Module, args: tuple, output: Any) -> Any:
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
        host: The network, a :class:`HostOfBlocks`, or a replica of it.
        args: Unused; of a pre-hook.

    Raises:
        RuntimeError: A layer is gone.
    """
    hooks: Mapping[str, RunBlock] = cast(Any, host).block_hooks
    for hook in hooks.values():
        try:
            layer = host.get_submodule(hook.after)
        except AttributeError as error:
            moved = _layer_with(host, hook)
            if moved is None:
                raise RuntimeError(
                    f'{type(host).__name__} no longer has the layer {hook.after!r} '
                    f'that an inserted block follows ({error}); put the layer back, or '
                    f'delete inserted_blocks[{block_name(hook.after)!r}]'
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
    """Remove a hook from the layer that has it, if there is one.

    Args:
        host: The network.
        hook: The hook.
    """
    layer = _layer_with(host, hook)
    if layer is not None:
        for number, present in list(layer._forward_hooks.items()):
            if _is_same(present, hook):
                del layer._forward_hooks[number]
