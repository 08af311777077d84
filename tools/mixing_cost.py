# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Print the cost of an inserted block as a row of the table in docs/mixing.md.

    python tools/mixing_cost.py CONFIG --after LAYER --shape 8 3 224 224

CONFIG is a file, or a path relative to the recognition configs of the installed
mmaction2. Parameters and multiply-adds of the backbone are counted for one clip from
shapes only; nothing is downloaded.
"""

import argparse
from pathlib import Path

import mmaction
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from selfy_mmaction.models.insertion.cost import insertion_cost
from selfy_mmaction.models.insertion.probe import default_input_shape

RECOGNITION = Path(mmaction.__file__).parent / '.mim' / 'configs' / 'recognition'


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', metavar='CONFIG', help='config of a recognizer')
    parser.add_argument(
        '--after',
        required=True,
        metavar='LAYER',
        help='layer of the backbone after which the block is inserted',
    )
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        help='input of one clip, T 3 H W or 1 3 T H W (default: as in InsertBlocks)',
    )
    parser.add_argument(
        '--block',
        default='SELFYBlock',
        metavar='TYPE',
        help='registered block (default: %(default)s)',
    )
    parser.add_argument(
        '--num-segments',
        type=int,
        help='frames per clip; required if the host has no num_segments',
    )
    parser.add_argument(
        '--layout',
        help="layout of the layer's output, such as 'n (t h w) c' (default: that of "
        'maps)',
    )
    parser.add_argument(
        '--output', type=int, help='index of the tensor, if the layer returns several'
    )
    args = parser.parse_args()
    path = Path(args.config)
    found = [place for place in (path, RECOGNITION / path) if place.is_file()]
    if not found:
        raise SystemExit(f'{path} is neither a file nor a path in {RECOGNITION}')
    cfg = Config.fromfile(found[0])
    init_default_scope('mmaction')
    backbone = cfg.model.backbone
    if 'pretrained' in backbone:
        # Some backbones load weights in their constructor.
        backbone.pretrained = None
    block = {'type': args.block}
    if args.num_segments:
        block['num_segments'] = args.num_segments
    spec = dict(after=args.after, block=block, layout=args.layout, output=args.output)
    try:
        host = MODELS.build(backbone)
        shape = args.shape or default_input_shape(host, args.num_segments)
        cost = insertion_cost(host, spec, shape)
    except (TypeError, ValueError) as error:
        raise SystemExit(f'{args.config}: {error}') from None
    given = ' `output=' + str(args.output) + '`' if args.output is not None else ''
    cells = (
        path.parent.name,
        f'`{path.stem}`',
        f'`{args.after}`{given}',
        str(cost.layout),
        'x'.join(map(str, shape)),
        'x'.join(map(str, cost.features)),
        f'{cost.parameters / 1e6:.2f}M',
        f'{cost.multiply_adds / 1e9:.2f}G',
        f'{cost.plain_multiply_adds / 1e9:.2f}G',
    )
    print('| ' + ' | '.join(cells) + ' |')


if __name__ == '__main__':
    main()
