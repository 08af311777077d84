# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Draw what each method compares with a position: the pictures of docs/methods.md.

    python tools/method_pictures.py --out docs/images/methods

The pictures are not drawn by hand: each method runs on random features of five frames,
and a position is marked if the result for the outlined position depends on it.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use('Agg')
import torch
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle
from torch import Tensor

from selfy_mmaction.models import (
    DifferenceTransformation,
    HigherOrderSTSS,
    LocalSelfAttentionBlock,
    NonLocalBlock,
    SELFYBlock,
    STSSTransformation,
)

FRAMES, SIDE, CHANNELS = 5, 21, 8
OFFSETS, WINDOW = (-2, -1, 0, 1, 2), (9, 9)


class Method(NamedTuple):
    """What to draw.

    Attributes:
        run: Maps features (T, C, H, W) to a tensor with the same T, H and W.
        places: Dimensions of T, H and W in the result.
        frame: Frame of the outlined position.
    """

    run: Callable[[Tensor], Tensor]
    places: tuple[int, int, int] = (1, 2, 3)
    frame: int = FRAMES // 2


def build_methods() -> dict[str, Method]:
    """Return the methods by the name of their picture."""
    torch.manual_seed(0)
    stss = STSSTransformation(FRAMES, OFFSETS, WINDOW)
    selfy = SELFYBlock(CHANNELS, FRAMES, scale=1, fusion=dict(relu='none')).eval()
    # Without 3x3 convolutions, which would hide the effect of the second order.
    encoder = dict(integration=dict(type='LiteIntegration', out_channels=64))
    second = HigherOrderSTSS(
        CHANNELS, num_segments=FRAMES, orders=(2,), encoder=encoder
    )
    return {
        'self-similarity': Method(stss),
        'selfy': Method(selfy, (0, 2, 3)),
        'msnet': Method(STSSTransformation(FRAMES, (1,), 15, clip_ends='repeat')),
        'local-self-attention': Method(
            LocalSelfAttentionBlock(CHANNELS, FRAMES, reduced_channels=CHANNELS).attend
        ),
        'non-local': Method(
            NonLocalBlock(CHANNELS, FRAMES, zero_init_last_norm=False).eval(),
            (0, 2, 3),
        ),
        'atm-difference': Method(DifferenceTransformation(FRAMES, OFFSETS)),
        'moss': Method(second.eval(), (0, 2, 3)),
        'motion-module': Method(
            STSSTransformation(FRAMES, OFFSETS, WINDOW, clip_ends='replicate'),
            frame=FRAMES - 1,
        ),
    }


def find_dependence(method: Method) -> Tensor:
    """Find the positions on which the result for one position depends.

    Args:
        method: The method.

    Returns:
        (T, H, W), bool.
    """
    feats = torch.rand(FRAMES, CHANNELS, SIDE, SIDE, requires_grad=True)
    result = method.run(feats).movedim(method.places, (0, 1, 2))
    result = result[method.frame, SIDE // 2, SIDE // 2]
    (gradient,) = torch.autograd.grad((result * torch.rand_like(result)).sum(), feats)
    return gradient.abs().sum(1) > 0


def draw(method: Method, path: Path) -> None:
    """Draw the frames of a clip with the positions that matter.

    Args:
        method: The method.
        path: Picture to write.
    """
    figure, axes = plt.subplots(1, FRAMES, figsize=(7.5, 1.75), layout='constrained')
    for frame, (axis, places) in enumerate(
        zip(axes, find_dependence(method), strict=True)
    ):
        axis.imshow(places, cmap='Blues', vmin=0, vmax=1.6)
        axis.set_xticks([])
        axis.set_yticks([])
        offset = frame - method.frame
        axis.set_title(f't {offset:+d}' if offset else 't', fontsize=9)
        if not offset:
            corner = (SIDE // 2 - 0.5, SIDE // 2 - 0.5)
            axis.add_patch(Rectangle(corner, 1, 1, fill=False, ec='tab:red', lw=2))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('docs/images/methods'),
        help='folder of the pictures (default: %(default)s)',
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, method in build_methods().items():
        draw(method, args.out / f'{name}.png')
        print(f'{args.out / name}.png')


if __name__ == '__main__':
    main()
