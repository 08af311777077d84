# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Which recognizers can stream, and the parts that they are run in."""

from typing import Any, NamedTuple

from mmaction.models.backbones.resnet import BasicBlock, Bottleneck, ResNet
from mmaction.models.backbones.resnet_tsm import ResNetTSM, TemporalShift
from mmaction.models.heads import TSMHead, TSNHead
from mmaction.models.recognizers import Recognizer2D
from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from selfy_mmaction.models import (
    ConvExtraction,
    ConvIntegration,
    ConvReduction,
    EmbeddedGaussianTransformation,
    FCIntegration,
    HostOfBlocks,
    KernelSoftArgmaxExtraction,
    MLPExtraction,
    MLPIntegration,
    ReleasedIntegration,
    ReplacementFusion,
    ResidualFusion,
    ResNetSELFY,
    SELFYBlock,
    SoftArgmaxExtraction,
    STSSTransformation,
    TransposedConvRestoration,
    UpsampleRestoration,
)
from selfy_mmaction.models.backbones.causal_shift import CausalShift
from selfy_mmaction.models.backbones.resnet_selfy import ResNetTSMSELFY
from selfy_mmaction.models.insertion.block_hook import RunBlock

from .shifted_layers import Shift, run_layer, shifts_in, skipped_by

# Of these, only the transformation sees more than one frame.
_STEPS: dict[str, tuple[type[nn.Module], ...]] = {
    'reduction': (ConvReduction,),
    'transformation': (STSSTransformation, EmbeddedGaussianTransformation),
    'extraction': (
        ConvExtraction,
        MLPExtraction,
        SoftArgmaxExtraction,
        KernelSoftArgmaxExtraction,
    ),
    'integration': (
        ConvIntegration,
        MLPIntegration,
        FCIntegration,
        ReleasedIntegration,
    ),
    'restoration': (UpsampleRestoration, TransposedConvRestoration),
    'fusion': (ResidualFusion, ReplacementFusion),
}


class Part(NamedTuple):
    """Layers of a backbone, and the block that follows them.

    Attributes:
        layers: Layers that see one frame at a time, except for causal shifts.
        block: The block after them, or None at the end of the backbone.
    """

    layers: list[nn.Module]
    block: SELFYBlock | None

    @property
    def shifts(self) -> list[CausalShift]:
        """Causal shifts of the layers, in their order."""
        return [shift for layer in self.layers for shift in shifts_in(layer)]

    def run(self, x: Tensor, shift: Shift | None = None) -> Tensor:
        """Run the layers, without the block.

        Args:
            x: Frames, (N, C, H, W).
            shift: Is called instead of each causal shift. Default: None, for layers
                without one.

        Returns:
            (N, C', H', W').
        """
        for layer in self.layers:
            if shift is not None and [*shifts_in(layer)]:
                x = run_layer(layer, x, shift)
            else:
                # Not __call__, whose hook would run the block on whole clips.
                x = layer.forward(x)
        return x


def split(network: Any) -> list[Part]:
    """Split the backbone of a recognizer after each block.

    Args:
        network: A trained recognizer in evaluation mode: ``Recognizer2D`` with
            ``ResNetSELFY``, ``ResNetTSMSELFY`` with ``causal_shift=True``, or
            mmaction2's ``ResNet``, SELFY blocks after its stages, and ``TSNHead`` or
            ``TSMHead``.

    Returns:
        Parts in order. Only the last has no block.

    Raises:
        ValueError: If the network cannot stream; names the part and the reason.
    """
    _check_recognizer(network)
    backbone = network.backbone
    _check_backbone(backbone)
    (last_stage,) = backbone.out_indices
    names = ['conv1', 'maxpool', *backbone.res_layers[: last_stage + 1]]
    blocks = dict(backbone._modules.get('inserted_blocks') or {})
    parts, layers = [], []
    for name in names:
        layer = backbone.get_submodule(name)
        _check_hooks(name, layer)
        layers.append(layer)
        if name in blocks:
            _check_block(name, backbone.block_hooks[name], blocks.pop(name))
            parts.append(Part(layers, backbone.inserted_blocks[name]))
            layers = []
    inside = set(blocks) - {'conv1', 'maxpool', *backbone.res_layers}
    if inside:
        raise _refusal(
            f'the block after {min(inside)!r}',
            'it is inside a stage',
            f'insert it after one of {", ".join(names)}',
        )
    parts.append(Part(layers, None))
    _check_shifts(backbone, parts)
    check_evaluation(network)
    return parts


def check_evaluation(network: nn.Module) -> None:
    """Refuse a network of which a part is in training mode.

    Raises:
        ValueError: If one is; names it.
    """
    for name, module in network.named_modules():
        if module.training:
            raise ValueError(
                f'{name or type(network).__name__} is in training mode, in which norms '
                'mix frames; call network.eval() first'
            )


def frame_scores(head: Any, x: Tensor) -> Tensor:
    """Compute the scores of single frames, before the softmax.

    Their average is the score of the clip, because the last layer is linear.

    Args:
        head: ``TSNHead`` or ``TSMHead``.
        x: Features of the last stage, (N, C, H, W).

    Returns:
        (N, classes).
    """
    return head.fc_cls(head.avg_pool(x).flatten(1))


def _refusal(what: str, why: str, fix: str) -> ValueError:
    return ValueError(f'{what} cannot stream: {why}; {fix}')


def _name(module: Any) -> str:
    return type(module).__name__


def _host_class(module: nn.Module) -> type:
    """Return the class of a network as it was before blocks were inserted."""
    return vars(type(module)).get('_class_of_host', type(module))


def _check_recognizer(network: Any) -> None:
    if _host_class(network) is not Recognizer2D:
        raise _refusal(
            _name(network),
            'only Recognizer2D runs frame by frame, and 3D networks mix frames in '
            'every layer',
            'use SELFYNet-TSN or causal SELFYNet-TSM',
        )
    if isinstance(network, HostOfBlocks):
        raise _refusal(
            'Recognizer2D with blocks inserted into the recognizer',
            'its backbone is called as a whole',
            'put InsertBlocks around the backbone',
        )
    if network.with_neck:
        raise _refusal(
            f'the neck {_name(network.neck)}',
            'it sees all frames of a clip at once',
            'use a network without a neck',
        )
    head = getattr(network, 'cls_head', None)
    forwards = (TSNHead.forward, TSMHead.forward)
    if head is None or type(head).forward not in forwards:
        raise _refusal(
            f'the head {_name(head)}',
            'only the average of frame scores can be updated frame by frame',
            'use TSNHead or TSMHead',
        )
    halves = getattr(head, 'temporal_pool', False) and head.is_shift
    average = getattr(head.consensus, 'dim', None) == 1
    if head.avg_pool is None or not average or halves:
        raise _refusal(
            f'the head {_name(head)}',
            f'it has spatial_type={head.spatial_type!r}, consensus='
            f'{_name(head.consensus)} and temporal_pool={halves}',
            "expected spatial_type='avg', AvgConsensus with dim=1 and "
            'temporal_pool=False',
        )


def _check_backbone(backbone: Any) -> None:
    name = _name(backbone)
    if isinstance(backbone, ResNetTSM) and not getattr(backbone, 'causal_shift', False):
        raise _refusal(
            name,
            'each of its temporal shifts needs features of the next frame, so a deep '
            'network looks many frames ahead',
            'train the causal form (ResNetTSMSELFY with causal_shift=True, '
            'configs/selfy/selfy-tsm-causal-*) or the TSN form (ResNetSELFY, '
            'configs/selfy/selfy-tsn-*)',
        )
    if _host_class(backbone) not in (ResNet, ResNetSELFY, ResNetTSMSELFY):
        raise _refusal(
            f'the backbone {name}',
            'it is not known to run frame by frame',
            'use ResNetSELFY, ResNetTSMSELFY with causal_shift=True, or ResNet with '
            'inserted blocks',
        )
    if len(backbone.out_indices) != 1:
        raise _refusal(
            f'{name} with out_indices={tuple(backbone.out_indices)}',
            'it returns several levels',
            'use one level',
        )
    for path, module in backbone.named_modules():
        if isinstance(module, TemporalShift) and type(module) is not CausalShift:
            raise _refusal(
                f'{name}.{path} ({_name(module)})',
                'it needs features of the next frame',
                'use ResNetTSMSELFY with causal_shift=True',
            )
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            raise _refusal(
                f'{name}.{path} ({_name(module)})',
                'without running statistics, it takes them over all frames of a clip',
                'train with track_running_stats=True',
            )


def _check_hooks(name: str, layer: nn.Module) -> None:
    hooks = [
        hook for hook in layer._forward_hooks.values() if not isinstance(hook, RunBlock)
    ]
    if hooks or layer._forward_pre_hooks:
        raise _refusal(
            f'layer {name!r} with a forward hook',
            'the hook would not run',
            'remove the hook',
        )


def _check_shifts(backbone: nn.Module, parts: list[Part]) -> None:
    layers = [layer for part in parts for layer in part.layers]
    names = {module: name for name, module in backbone.named_modules()}
    known = {shift for part in parts for shift in part.shifts}
    for module, name in names.items():
        if isinstance(module, CausalShift) and module not in known:
            raise _refusal(
                f'{_name(backbone)}.{name} ({_name(module)})',
                'it is not where mmaction2 puts shifts',
                'use ResNetTSMSELFY with causal_shift=True',
            )
    for layer in layers:
        for module in skipped_by(layer):
            _check_hooks(names[module], module)
            # A subclass may have another forward pass.
            if type(module) not in (BasicBlock, Bottleneck, ConvModule, CausalShift):
                raise _refusal(
                    f'{_name(backbone)}.{names[module]} ({_name(module)})',
                    'it is not known what it does around its temporal shift',
                    'use the residual blocks of mmaction2',
                )


def _check_block(after: str, hook: RunBlock, block: Any) -> None:
    place = f'the block {_name(block)} after {after!r}'
    if type(block) is not SELFYBlock:
        raise _refusal(place, 'it is not known which frames it needs', 'use SELFYBlock')
    if hook.output is not None or (
        hook.layout is not None and hook.layout.pattern != '(n t) c h w'
    ):
        raise _refusal(place, 'its features are not frames', "use layout='(n t) c h w'")
    for step, known in _STEPS.items():
        module = getattr(block, step)
        if type(module) not in known:
            raise _refusal(
                f'the {step} {_name(module)} of {place}',
                'it is not known whether it sees one frame at a time',
                f'use {", ".join(each.__name__ for each in known)}',
            )
        _check_step(f'the {step} of {place}', module)


def _check_step(place: str, step: nn.Module) -> None:
    for option, streamed in (('similarity', 'cosine'), ('clip_ends', 'zeros')):
        value = getattr(step, option, streamed)
        if value != streamed:
            raise _refusal(
                f'{option}={value!r} of {place}',
                'it is not implemented for streams',
                f'use {option}={streamed!r}',
            )
    norms = [
        layer.norm
        for layer in step.modules()
        if isinstance(layer, ConvModule) and layer.with_norm
    ]
    if getattr(step, 'norm_scope', None) == 'clip' and not all(
        isinstance(norm, _BatchNorm) for norm in norms
    ):
        raise _refusal(
            f"norm_scope='clip' of {place}",
            'its norms see all frames of the clip',
            'use batch norm',
        )
