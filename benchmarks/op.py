# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Time and memory of the STSS transformation (Eq. 1) and of alternatives.

    python benchmarks/op.py --official ../SELFY --sampler

docs/performance.md explains the output.
"""

from argparse import Namespace
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from baselines import official
from measuring import Candidate, passes_of
from running import SCALES, make_parser, run
from torch import Tensor, nn

from selfy_mmaction.ops import composed, exportable, self_similarity

# Used for other derivatives and in exported files.
PLAIN_FORMS = {'composed': composed, 'exportable': exportable}


def similarity_of_all_pairs(
    feats: Tensor,
    offsets: Sequence[int],
    window: tuple[int, int],
    num_segments: int,
    eps: float = 1e-6,
) -> Tensor:
    """Compute Eq. 1 as one matrix product over all pairs of positions.

    Windows are strided views of the products. Arguments and result are those of
    :func:`selfy_mmaction.ops.self_similarity`.
    """
    clips = feats * torch.rsqrt(feats.square().sum(1, keepdim=True) + eps)
    clips = clips.unflatten(0, (-1, num_segments))
    height, width = feats.shape[2:]
    rows, cols = (side // 2 for side in window)
    reach = max(map(abs, offsets))
    padded = F.pad(clips, (cols, cols, rows, rows, 0, 0, reach, reach))
    row = padded.size(-1)
    queries = clips.flatten(3).mT
    values = []
    for offset in offsets:
        start = reach + offset
        products = queries @ padded[:, start : start + num_segments].flatten(3)
        clip, frame, query, key = products.stride()
        # Query (y, x) and neighbor (u, v) meet in column (y + u) * row + x + v.
        values.append(
            products.as_strided(
                (len(clips), num_segments, height, width, *window),
                (clip, frame, width * query + row, query + key, row, key),
            )
        )
    return torch.stack(values, 4)


def build(args: Namespace) -> list[Candidate]:
    """Build our operator, its implementations, all pairs and the official code."""
    torch.manual_seed(0)
    shape = args.batch * args.t, args.channels, args.size, args.size
    # After a ReLU, as in the block.
    feats = torch.randn(shape).relu_().to(args.device, args.dtype)
    options = dict(offsets=args.offsets, window=(args.window,) * 2, num_segments=args.t)
    ours = partial(self_similarity, **options)
    functions = {'ours': ours}
    for backend in args.backend:
        if backend in PLAIN_FORMS:
            rest = dict(keys=None, eps=1e-6, similarity='cosine')
            function = partial(PLAIN_FORMS[backend].self_similarity, **options, **rest)
        elif args.dtype == torch.float64:
            # For the comparison of results; the Triton backend does not support it.
            continue
        else:
            function = partial(ours, backend=backend)
        functions[f'ours, {backend}'] = function
    functions['all pairs'] = partial(similarity_of_all_pairs, **options)
    channels = args.channels, args.channels
    modules = official(args, 'STSSTransformation', args.dtype, *channels)
    for name, module in modules.items():
        module.downsample = nn.Identity()  # Eq. 1 only
        functions[name] = lambda x, module=module: module(x).squeeze(4)
    return [
        Candidate(
            name,
            passes_of([function] * 2, [[feats]] * 2, args.autocast),
            like=None if function is ours else 'ours',
        )
        for name, function in functions.items()
    ]


if __name__ == '__main__':
    parser = make_parser(__doc__, size=14, channels=128)
    text = "implementations of our operator to compare with 'auto' (default: none)"
    choices = ['torch', 'triton', *PLAIN_FORMS]
    parser.add_argument('--backend', nargs='+', default=[], choices=choices, help=text)
    text = 'quantities to vary, one at a time (default: none)'
    parser.add_argument('--scale', nargs='+', default=[], choices=SCALES, help=text)
    run(parser, build, size=6, channels=8)
