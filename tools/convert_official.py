# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Convert a checkpoint of the authors' SELFY code, or of the TSM authors' code.

    python tools/convert_official.py IN.pth.tar OUT.pth [--kind tsm]

SELFY checkpoints (ResNet-18, -34, -50 or -101, for 8 or 16 frames) become checkpoints
of ``Recognizer2D`` with ``ResNetTSMSELFY`` in the released form of the block; TSM
checkpoints become those of mmaction2's ``ResNetTSM``. torchvision's ImageNet files need
no conversion: mmaction2 reads them through ``pretrained=``.

OUT holds ``state_dict`` and ``meta``, whose ``cfg`` is the text of the config that it
fits. Nothing is written unless every key fits.
"""

import argparse
import os
import pickle
from pathlib import Path

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

import selfy_mmaction
from selfy_mmaction.models.official_checkpoint import (
    KINDS,
    convert_official,
    find_depth,
    fit_config,
    load_official,
)

RELEASED = Path(__file__).resolve().parents[1] / 'configs' / 'selfy' / 'released'


def default_config(depth: int) -> Path:
    """The config of the released form with the blocks of a depth."""
    name = 'r18' if depth < 50 else 'r50'
    return RELEASED / f'selfy-tsm-{name}_1x1x8_sthv1-rgb.py'


def convert(source: Path, out: Path, kind: str, config: Path | None) -> None:
    """Convert a file.

    Args:
        source: The authors' checkpoint.
        out: Where to write ours.
        kind: 'selfy' or 'tsm'.
        config: Config that must fit. None for :func:`default_config`, changed to the
            depth, offsets and classes of the checkpoint.

    Raises:
        OSError: ``source`` cannot be read or ``out`` cannot be written.
        pickle.UnpicklingError: ``source`` would run code.
        ValueError: ``source`` does not fit.
    """
    state = load_official(source)
    if config is None:
        cfg = Config.fromfile(default_config(find_depth(state)))
        fit_config(cfg, state, kind)
    else:
        cfg = Config.fromfile(config)
    init_default_scope('mmaction')
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    meta = dict(
        cfg=cfg.pretty_text,
        converted_from=source.name,
        selfy_mmaction_version=selfy_mmaction.__version__,
    )
    checkpoint = dict(state_dict=convert_official(state, model, kind), meta=meta)
    partial = out.with_name(f'{out.name}.partial')
    try:
        torch.save(checkpoint, partial)
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', metavar='IN', type=Path, help="the authors' file")
    parser.add_argument('out', metavar='OUT', type=Path, help='the file to write')
    parser.add_argument('--kind', choices=KINDS, default='selfy', help='whose file')
    parser.add_argument(
        '--config',
        type=Path,
        help='config that must fit; default: the one of configs/selfy/released for the '
        'depth in the file, with the offsets and classes of the file',
    )
    args = parser.parse_args()
    try:
        convert(args.source, args.out, args.kind, args.config)
    except (OSError, ValueError, pickle.UnpicklingError) as error:
        raise SystemExit(f'{args.source} was not converted: {error}') from None
    print(f'{args.out} written')


if __name__ == '__main__':
    main()
