# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Time and multiply-adds per new frame of a stream: SELFYNet-TSN and causal TSM.

    python benchmarks/streaming.py --depth 18

The whole clip of the last T frames, the same with cached features
(SlidingWindowRecognizer), and exact streaming (StreamingRecognizer), which does not
give the same scores as a window. Then causal SELFYNet-TSM, without the offsets that
look ahead: the whole clip and exact streaming. docs/streaming.md explains the
differences.
"""

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from measuring import Candidate
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from network import initialize
from running import make_parser, run
from torch import Tensor, nn

from selfy_mmaction.deployment.sliding_windows import SlidingWindowRecognizer
from selfy_mmaction.deployment.streaming import StreamingRecognizer


def build_network(args: Namespace, causal: bool) -> nn.Module:
    """Build SELFYNet-TSN or causal SELFYNet-TSM without weights, for evaluation."""
    init_default_scope('mmaction')
    folder = Path(__file__).resolve().parents[1] / 'configs' / '_base_' / 'models'
    kind = 'tsm' if causal else 'tsn'
    model = Config.fromfile(folder / f'selfy_{kind}_r{args.depth}.py').model
    model.backbone.update(pretrained=None, num_segments=args.t)
    model.cls_head.num_segments = args.t
    # Zero-initialized, the block would be an identity and results always equal.
    block = model.backbone.selfy.block
    block.update(offsets=args.offsets, window=args.window, zero_init_last_norm=False)
    if causal:
        model.backbone.causal_shift = True
        block.offsets = [offset for offset in args.offsets if offset <= 0]
    network = initialize(MODELS.build(model)).eval()
    return network.to(args.device, args.dtype)


def step_of(stream: Any, frames: Tensor) -> tuple[Callable[[], Tensor], list[Tensor]]:
    """Return a function that gives the scores after the last frame, and the state."""
    _, state = stream.forward_steps(frames[:, :-1])
    return lambda: stream.forward_step(frames[:, -1], state)[0], tensors(state)


def tensors(state: Any) -> list[Tensor]:
    """Collect the tensors of a state."""
    if isinstance(state, Tensor):
        return [state]
    return [tensor for part in state for tensor in tensors(part)]


def build(args: Namespace) -> list[Candidate]:
    """Build each way for one more frame after enough others."""
    network, causal = (build_network(args, causal) for causal in (False, True))
    generator = torch.Generator().manual_seed(0)
    size = (args.batch, args.t + 2, 3, args.size, args.size)
    frames = torch.randn(size, generator=generator).to(args.device, args.dtype)
    clips = frames[:, -args.t :]

    def whole_clip(network: Any) -> Callable[[], Tensor]:
        return torch.no_grad()(lambda: network.extract_feat(clips, stage='head')[0])

    whole, causal_whole = whole_clip(network), whole_clip(causal)
    cached, cached_state = step_of(SlidingWindowRecognizer(network, args.t), frames)
    exact, exact_state = step_of(StreamingRecognizer(network, args.t), frames)
    causal_exact, causal_state = step_of(StreamingRecognizer(causal, args.t), clips)
    # Candidates that are "like" others have their multiply-adds, and these differ.
    for fast, reference in ((cached, whole), (causal_exact, causal_whole)):
        torch.testing.assert_close(fast(), reference(), rtol=1e-2, atol=1e-2)

    def candidate(
        name: str,
        function: Callable[[], Tensor],
        held: Sequence[Tensor],
        network: nn.Module = network,
    ) -> Candidate:
        weights = network.state_dict().values()
        return Candidate(
            name, {'new frame': function}, held={'new frame': [*held, *weights]}
        )

    return [
        candidate('whole clip', whole, [clips]),
        candidate('sliding window, cached', cached, cached_state),
        candidate('exact streaming', exact, exact_state),
        candidate('causal TSM, whole clip', causal_whole, [clips], causal),
        candidate('causal TSM, exact streaming', causal_exact, causal_state, causal),
    ]


if __name__ == '__main__':
    parser = make_parser(__doc__, size=224)
    text = 'depth of the ResNet (default: %(default)s)'
    parser.add_argument('--depth', type=int, choices=[18, 50], default=18, help=text)
    run(parser, build, size=64)
