# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Time and memory of the self-similarity (Eq. 1), against other ways to compute it.

    python benchmarks/op.py --peer-sampler --peer-released ../SELFY

docs/performance.md says how to read the result.
"""

import inspect
import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from measuring import BACKWARD, FORWARD, Candidate, differentiable_counts, tensor_bytes
from peers import similarity_by_sampling
from running import Case, Settings, make_parser, run
from torch import Tensor, nn

from selfy_mmaction.ops import self_similarity

OURS, ALL_PAIRS = 'ours', 'all pairs'


def similarity_of_all_pairs(
    feats: Tensor, case: Case, num_segments: int, eps: float = 1e-6
) -> Tensor:
    """Eq. 1 in the plainest matrix form: all pairs of positions, windows by strides.

    Args:
        feats: (N*T, C, H, W).
        case: Its offsets and window.
        num_segments: Frames per clip, T.
        eps: Added to the squared norms. Default: 1e-6.

    Returns:
        (N, T, H, W, L, U, V).
    """
    clips = feats * torch.rsqrt(feats.square().sum(1, keepdim=True) + eps)
    clips = clips.unflatten(0, (-1, num_segments))
    height, width = feats.shape[2:]
    rows, cols = (side // 2 for side in case.window)
    reach = max(map(abs, case.offsets))
    padded = F.pad(clips, (cols, cols, rows, rows, 0, 0, reach, reach))
    row = padded.size(-1)
    queries = clips.flatten(3).mT
    values = []
    for offset in case.offsets:
        start = reach + offset
        products = queries @ padded[:, start : start + num_segments].flatten(3)
        clip, frame, query, key = products.stride()
        # Query (y, x) and neighbor (u, v) meet in column (y + u) * row + x + v.
        values.append(
            products.as_strided(
                (len(clips), num_segments, height, width, *case.window),
                (clip, frame, width * query + row, query + key, row, key),
            )
        )
    return torch.stack(values, 4)


def build(case: Case, settings: Settings) -> list[Candidate]:
    """Our operator, a plain form of it, and the peers that are there."""
    generator = torch.Generator().manual_seed(0)
    shape = (case.batch * case.frames, case.channels, *case.size)
    # After a ReLU, as in the block.
    feats = torch.randn(shape, generator=generator).relu_()
    feats = feats.to(settings.device, settings.dtype)
    ours = partial(
        self_similarity,
        offsets=case.offsets,
        window=case.window,
        num_segments=case.frames,
    )
    functions: dict[str, Callable[[Tensor], Tensor]] = {OURS: ours}
    for backend in settings.args.backend:
        functions[f'{OURS}, {backend}'] = partial(ours, backend=backend)
        _check_backend(functions[f'{OURS}, {backend}'], backend, feats)
    functions[ALL_PAIRS] = partial(
        similarity_of_all_pairs, case=case, num_segments=case.frames
    )
    number_of_ours = len(functions)
    peers = settings.peers
    for name, make in peers.correlations.items():
        with peers.skipping(name):
            functions[name] = partial(
                similarity_by_sampling,
                make(case.window),
                offsets=case.offsets,
                num_segments=case.frames,
            )
    released = peers.released('STSSTransformation', case.offsets, case.window)
    for name, make in released.items():
        with peers.skipping(name):
            module = make(settings.dtype, case.channels, case.channels, case.frames)
            module.downsample = nn.Identity()  # Eq. 1 alone
            functions[name] = lambda x, module=module: module(x).squeeze(4)
    return [
        _candidate(name, function, feats, case, is_peer=i >= number_of_ours)
        for i, (name, function) in enumerate(functions.items())
    ]


def _check_backend(
    function: Callable[[Tensor], Tensor], backend: str, feats: Tensor
) -> None:
    if 'backend' not in inspect.signature(self_similarity).parameters:
        raise ValueError(
            f'--backend {backend}: self_similarity of this version has no choice of '
            'backends; leave the option out'
        )
    try:
        function(feats)
    except Exception as error:
        raise ValueError(f'--backend {backend}: {error}') from error


def _candidate(
    name: str,
    function: Callable[[Tensor], Tensor],
    feats: Tensor,
    case: Case,
    is_peer: bool,
) -> Candidate:
    leaf = feats.clone().requires_grad_()
    shape = (case.batch, case.frames, *case.size, len(case.offsets), *case.window)
    grad = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(feats)

    @torch.no_grad()
    def forward() -> Tensor:
        return function(feats)

    def forward_and_backward() -> tuple[Tensor, ...]:
        return torch.autograd.grad(function(leaf), leaf, grad)

    macs = case.channels * math.prod(shape)
    return Candidate(
        name,
        {FORWARD: forward, BACKWARD: forward_and_backward},
        differentiable_counts(
            {FORWARD: macs, BACKWARD: 3 * macs}, tensor_bytes(feats), tensor_bytes(grad)
        ),
        same_as=None if name == OURS else OURS,
        is_peer=is_peer,
    )


def main() -> None:
    """Run the command line."""
    parser = make_parser(__doc__, baseline=OURS, size=14, channels=128)
    parser.add_argument(
        '--backend',
        nargs='+',
        default=[],
        choices=['auto', 'torch', 'triton'],
        help="backends of our operator to compare with its own choice, 'auto'",
    )
    run('op', parser, build)


if __name__ == '__main__':
    main()
