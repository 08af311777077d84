# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Convert a checkpoint of the official SELFY code, or of related code.

    python tools/convert_official.py IN.pth.tar OUT.pth [--kind tsm|moss]

Checkpoints of the SELFY code (ResNet-18, -34, -50 or -101, 8 or 16 frames) become
checkpoints of Recognizer2D with ResNetTSMSELFY, using the official form of the
block or, for its --arch TSM, no block. Checkpoints of the TSM code become
checkpoints of mmaction2's ResNetTSM. Checkpoints trained with --dropout 0 are
supported for both. torchvision's ImageNet files need no conversion: mmaction2 reads
them through pretrained=.

--kind moss reads only the MOSS block, or the motion module of RLDX-1, of a checkpoint
(.safetensors, too), since mmaction2 has no counterpart of the rest. OUT is then a
checkpoint of a MOSSBlock; of HigherOrderSTSS if the result has other channels than
the features.

OUT holds state_dict and meta; meta['cfg'] is the text of the matching
config. Nothing is written unless every key matches.
"""

import argparse
from pathlib import Path

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

import selfy_mmaction
from selfy_mmaction.atomic_files import replacing
from selfy_mmaction.checkpoints.moss import convert_to_block, find_motion_module
from selfy_mmaction.checkpoints.official import (
    KINDS,
    convert_official,
    find_depth,
    fit_config,
    load_official,
)
from selfy_mmaction.models.selfy.transformation import SIMILARITIES

OFFICIAL = Path(__file__).resolve().parents[1] / 'configs' / 'selfy' / 'official'


def default_config(depth: int) -> Path:
    """Return the official-form config for a ResNet depth."""
    name = 'r18' if depth < 50 else 'r50'
    return OFFICIAL / f'selfy-tsm-{name}_1x1x8_sthv1-rgb.py'


def convert(
    source: Path,
    out: Path,
    kind: str,
    config: Path | None,
    prefix: str | None = None,
    similarity: str = 'cosine',
) -> None:
    """Convert an official checkpoint.

    Args:
        source: Official checkpoint.
        out: Path of the converted checkpoint.
        kind: 'selfy', 'tsm' or 'moss'.
        config: Config that the checkpoint must match. None: :func:`default_config`,
            adapted to the depth, offsets and classes of the checkpoint. Not for 'moss'.
        prefix: For 'moss', prefix of the module. Default: None, if there is only one.
        similarity: For 'moss', the similarity. Default: 'cosine'.

    Raises:
        OSError: If ``source`` cannot be read or ``out`` cannot be written.
        ValueError: If ``source`` is damaged, would run code or does not match; if
            ``config`` does not build a recognizer; or if ``out`` is ``source``.
    """
    if out.resolve() == source.resolve():
        raise ValueError(f'OUT {out} would overwrite it')
    if not out.resolve().parent.is_dir():
        raise FileNotFoundError(f'the folder of OUT {out} does not exist')
    state = load_official(source)
    init_default_scope('mmaction')
    if kind == 'moss':
        module = find_motion_module(state, prefix)
        block, converted = convert_to_block(module, similarity)
        _save(out, source, Config(dict(block=block)), converted)
        return
    if config is None:
        cfg = Config.fromfile(default_config(find_depth(state)))
        fit_config(cfg, state, kind)
        model = _build(cfg)
    else:
        try:
            cfg = Config.fromfile(config)
            model = _build(cfg)
        except Exception as error:  # a user's config can raise anything
            raise ValueError(
                f'--config {config} does not build a recognizer: '
                f'{type(error).__name__}: {error}'
            ) from error
    _save(out, source, cfg, convert_official(state, model, kind))


def _save(out: Path, source: Path, cfg: Config, state: dict[str, Tensor]) -> None:
    meta = dict(
        cfg=cfg.pretty_text,
        converted_from=source.name,
        selfy_mmaction_version=selfy_mmaction.__version__,
    )
    checkpoint = dict(state_dict=state, meta=meta)
    try:
        with replacing(out) as partial:
            torch.save(checkpoint, partial)
    except RuntimeError as error:  # raised by torch when writing fails
        raise OSError(f'{out} cannot be written: {error}') from error


def _build(config: Config) -> nn.Module:
    """Build the model on the meta device, which allocates no memory."""
    with torch.device('meta'):
        return MODELS.build(config.model)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('source', metavar='IN', type=Path, help='official checkpoint')
    parser.add_argument('out', metavar='OUT', type=Path, help='converted checkpoint')
    parser.add_argument(
        '--kind',
        choices=(*KINDS, 'moss'),
        default='selfy',
        help='code that wrote IN (default: %(default)s)',
    )
    parser.add_argument(
        '--config',
        type=Path,
        help='config that IN must match (default: the one in configs/selfy/official '
        'for the depth of IN, with the offsets and classes of IN)',
    )
    parser.add_argument(
        '--prefix', help='with --kind moss, which module to read if IN has several'
    )
    parser.add_argument(
        '--similarity',
        choices=SIMILARITIES,
        help='with --kind moss, the similarity of IN, which its weights do not tell '
        "(default: cosine; scaled_dot and softmax are the code's dotproduct and "
        'dotproduct_softmax)',
    )
    args = parser.parse_args()
    if args.kind == 'moss' and args.config:
        parser.error('--config does not apply to --kind moss')
    if args.kind != 'moss' and (args.prefix or args.similarity):
        parser.error('--prefix and --similarity require --kind moss')
    try:
        convert(
            args.source,
            args.out,
            args.kind,
            args.config,
            args.prefix,
            args.similarity or 'cosine',
        )
    except (OSError, ValueError) as error:
        raise SystemExit(f'{args.source} was not converted: {error}') from None
    print(f'{args.out} written')


if __name__ == '__main__':
    main()
