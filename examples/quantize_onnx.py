# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Quantize an exported network to int8, calibrated on clips of its training data.

    python -m selfy_mmaction.run export CONFIG CHECKPOINT network.onnx
    python examples/quantize_onnx.py CONFIG network.onnx int8.onnx

The quantizer is that of ONNX Runtime: static, with one scale per output channel of a
weight. The clips pass through the test pipeline of the config. Only products
(convolutions, linear layers, similarities) are quantized, and not those of the
classifier, because 256 possible scores would often tie.
"""

import argparse
import json
import logging
import os
import random
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from onnxruntime.quantization import CalibrationDataReader, quantize_static

import selfy_mmaction  # noqa: F401  registers everything


class Clips(CalibrationDataReader):
    """Gives the quantizer one clip after the other."""

    def __init__(self, clips: Iterable[np.ndarray]) -> None:
        self.clips = iter(clips)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next clip, or None after the last one."""
        clip = next(self.clips, None)
        return None if clip is None else {'frames': clip[None]}


def quantize(
    network: Path, out: Path, clips: Iterable[np.ndarray], keep: str = ''
) -> None:
    """Quantize a network.

    Args:
        network: ONNX file of ``run export``.
        out: File to write.
        clips: Clips as the file takes them, (views * T, 3, H, W) for 2D networks.
        keep: Another part of the network that stays in float32, by its name in the
            model, such as 'transformation'. Default: '', none.

    Raises:
        ValueError: If the network has no such part.
    """
    nodes = onnx.load(network).graph.node
    names = [{each.key: each.value for each in n.metadata_props} for n in nodes]
    spaces = [name.get('namespace', '') for name in names]
    if keep and not any(keep in space for space in spaces):
        raise ValueError(f'{network} has no part {keep!r}')
    kept = [
        node.name
        for node, space in zip(nodes, spaces, strict=True)
        if 'cls_head' in space or (keep and keep in space)
    ]
    partial = out.with_name(f'{out.name}.partial')
    try:
        quantize_static(
            network,
            partial,
            Clips(clips),
            per_channel=True,
            op_types_to_quantize=['Conv', 'Gemm', 'MatMul'],
            nodes_to_exclude=kept,
        )
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)


def read_clips(config: Path, number: int) -> Iterable[np.ndarray]:
    """Read random clips of the training data through the test pipeline."""
    cfg = Config.fromfile(config)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    data = dict(cfg.train_dataloader.dataset)
    data.update(pipeline=cfg.test_dataloader.dataset.pipeline, test_mode=True)
    dataset = DATASETS.build(data)
    chosen = random.Random(0).sample(range(len(dataset)), min(number, len(dataset)))
    return (dataset[index]['inputs'].numpy() for index in chosen)


def make_parser() -> argparse.ArgumentParser:
    """Create the parser."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of the training')
    parser.add_argument('network', type=Path, help='exported file, float32 inside')
    parser.add_argument('out', type=Path, help='file to write')
    parser.add_argument(
        '--clips',
        type=int,
        default=96,
        help='number of clips for the calibration (default: %(default)s)',
    )
    parser.add_argument(
        '--keep',
        default='',
        metavar='PART',
        help='another part that stays in float32, such as transformation '
        '(default: none)',
    )
    return parser


def main() -> None:
    """Run the command line."""
    parser = make_parser()
    args = parser.parse_args()
    # The quantizer advises to optimize the file first, which the exporter has done.
    logging.disable(logging.WARNING)
    card = Path(f'{args.network}.json')
    for file in (args.network, card):
        if not file.is_file():
            parser.error(f'{file} does not exist; `run export` writes it')
    if args.clips < 1:
        parser.error(f'--clips {args.clips}: must be 1 or more')
    if args.out.suffix != '.onnx' or args.out.resolve() == args.network.resolve():
        parser.error(f'{args.out} must be another file that ends in .onnx')
    expected = json.loads(card.read_text(encoding='utf-8'))['input']
    if expected['dtype'] != 'uint8':
        parser.error(
            f'{args.network} takes {expected["dtype"]}; export it without '
            '--input normalized'
        )
    try:
        clips = read_clips(args.config, args.clips)
        quantize(args.network, args.out, clips, args.keep)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    shutil.copyfile(card, f'{args.out}.json')
    before, after = (os.path.getsize(file) / 2**20 for file in (args.network, args.out))
    print(f'{args.out} written: {after:.2f} MiB instead of {before:.2f} MiB')


if __name__ == '__main__':
    main()
