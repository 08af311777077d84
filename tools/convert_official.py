# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Convert a checkpoint of the official SELFY code, or of the TSM code.

    python tools/convert_official.py IN.pth.tar OUT.pth [--kind tsm]

Checkpoints of the SELFY code (ResNet-18, -34, -50 or -101, for 8 or 16 frames) become
checkpoints of ``Recognizer2D`` with ``ResNetTSMSELFY``, with the released form of the
block or, for its ``--arch TSM``, without a block. Checkpoints of the TSM code become
those of mmaction2's ``ResNetTSM``. Both may have been trained with ``--dropout 0``.
torchvision's ImageNet files need no conversion: mmaction2 reads them through
``pretrained=``.

OUT holds ``state_dict`` and ``meta``, whose ``cfg`` is the text of the config that it
fits. Nothing is written unless every key fits.
"""

import argparse
from pathlib import Path

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

import selfy_mmaction
from selfy_mmaction.atomic_files import replacing
from selfy_mmaction.checkpoints.official import (
    KINDS,
    convert_official,
    find_depth,
    fit_config,
    load_official,
)

OFFICIAL = Path(__file__).resolve().parents[1] / 'configs' / 'selfy' / 'official'


def default_config(depth: int) -> Path:
    """The config of the official form with the blocks of a depth."""
    name = 'r18' if depth < 50 else 'r50'
    return OFFICIAL / f'selfy-tsm-{name}_1x1x8_sthv1-rgb.py'


def convert(source: Path, out: Path, kind: str, config: Path | None) -> None:
    """Convert a checkpoint to one of ours.

    Args:
        source: The official checkpoint.
        out: Where to write ours.
        kind: 'selfy' or 'tsm'.
        config: Config that must fit. None for :func:`default_config`, changed to the
            depth, offsets and classes of the checkpoint.

    Raises:
        OSError: ``source`` cannot be read or ``out`` cannot be written.
        ValueError: ``source`` is damaged, would run code, or does not fit; ``config``
            is none of a recognizer; or ``out`` is ``source``.
    """
    if out.resolve() == source.resolve():
        raise ValueError(f'OUT {out} would overwrite it')
    if not out.resolve().parent.is_dir():
        raise FileNotFoundError(f'OUT {out} is in a folder that does not exist')
    state = load_official(source)
    init_default_scope('mmaction')
    if config is None:
        cfg = Config.fromfile(default_config(find_depth(state)))
        fit_config(cfg, state, kind)
        model = _build(cfg)
    else:
        try:
            cfg = Config.fromfile(config)
            model = _build(cfg)
        except Exception as error:  # whatever is wrong in a file of the user's
            raise ValueError(
                f'--config {config} builds no recognizer: {type(error).__name__}: '
                f'{error}'
            ) from error
    meta = dict(
        cfg=cfg.pretty_text,
        converted_from=source.name,
        selfy_mmaction_version=selfy_mmaction.__version__,
    )
    checkpoint = dict(state_dict=convert_official(state, model, kind), meta=meta)
    try:
        with replacing(out) as partial:
            torch.save(checkpoint, partial)
    except RuntimeError as error:  # torch's, where writing fails
        raise OSError(f'{out} cannot be written: {error}') from error


def _build(config: Config) -> nn.Module:
    """The model, of no memory."""
    with torch.device('meta'):
        return MODELS.build(config.model)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', metavar='IN', type=Path, help='the official file')
    parser.add_argument('out', metavar='OUT', type=Path, help='the file to write')
    parser.add_argument('--kind', choices=KINDS, default='selfy', help='whose file')
    parser.add_argument(
        '--config',
        type=Path,
        help='config that must fit; default: the one of configs/selfy/official for the '
        'depth in the file, with the offsets and classes of the file',
    )
    args = parser.parse_args()
    try:
        convert(args.source, args.out, args.kind, args.config)
    except (OSError, ValueError) as error:
        raise SystemExit(f'{args.source} was not converted: {error}') from None
    print(f'{args.out} written')


if __name__ == '__main__':
    main()
