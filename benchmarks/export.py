# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Export networks of the configs at full size, and compare the files with them.

    python benchmarks/export.py configs/selfy/selfy-tsn-r50_8xb8-1x1x8-50e_sthv1-rgb.py

Weights are random, because an operator fails or not whatever the weights are: the scale
of norms that start at zero is 1, norms have the statistics of a clip, and the scores of
the head differ enough that classes are not tied. Clips have one view. Each row is
written as soon as its network is done.
"""

import argparse
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from mmaction.apis import init_recognizer
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from selfy_mmaction.atomic_files import replacing
from selfy_mmaction.checkpoints import SAMPLE_CLIP
from selfy_mmaction.deployment.exporting import ComparisonError, export_network
from selfy_mmaction.deployment.formats import FORMATS
from selfy_mmaction.inference.network import read_config
from selfy_mmaction.inference.pipeline import VideoPipeline, find_test_pipeline

TITLES = (
    'network',
    'format',
    'difference of a probability',
    'of its logarithm',
    'same top-1',
    'MB',
    'CPU seconds',
    'refused',
)
# Standard deviation of the scores of a clip over the classes.
_SPREAD = 2.0


def use_one_view(config: Config) -> None:
    """Change the test pipeline of a config to one view of a video per clip."""
    pipeline = find_test_pipeline(config)
    if 'RawFrameDecode' in (step['type'] for step in pipeline):
        pipeline.insert(0, dict(type='DecordInit'))
    for step in pipeline:
        if step['type'] == 'SampleFrames':
            step['twice_sample'] = False
            if step['clip_len'] > 1:
                step['num_clips'] = 1
        elif step['type'] in ('ThreeCrop', 'TenCrop'):
            step['type'] = 'CenterCrop'
        elif step['type'] == 'RawFrameDecode':
            step['type'] = 'DecordDecode'


@torch.no_grad()
def build_with_random_weights(config: Config, name: str) -> nn.Module:
    """Build a network whose weights and norms hide no error of an export."""
    torch.manual_seed(0)
    model = init_recognizer(config, None, 'cpu')
    for module in model.modules():
        weight = getattr(module, 'weight', None)
        if isinstance(weight, nn.Parameter) and not weight.any():
            nn.init.ones_(weight)
        if isinstance(module, _BatchNorm):
            module.momentum = None  # the statistics of the only batch
            module.train()
    clip = VideoPipeline(config, name).open(str(SAMPLE_CLIP)).read_clip()
    model.cls_head.average_clips, average = None, model.cls_head.average_clips
    (sample,) = model.test_step(pseudo_collate([dict(clip.inputs)]))
    model.cls_head.average_clips = average
    last = [m for m in model.cls_head.modules() if isinstance(m, nn.Linear)][-1]
    last.weight *= _SPREAD / sample.pred_score.std(-1).mean()
    return model.eval()


def export_one(path: str, format: str, folder: Path) -> dict[str, Any]:
    """Export the network of a config; return a row of the table."""
    row: dict[str, Any] = dict.fromkeys(TITLES, '')
    row.update(network=Path(path).stem.split('_8xb')[0], format=format)
    begin = time.process_time()
    try:
        config, name = read_config(path)
        use_one_view(config)
        checkpoint = folder / 'random.pth'
        model = build_with_random_weights(config, name)
        torch.save(dict(state_dict=model.state_dict(), meta={}), checkpoint)
        del model
        out = folder / f'network{FORMATS[format]}'
        begin = time.process_time()
        result = export_network(config, checkpoint, out, format)
    except (ComparisonError, ImportError, OSError, ValueError) as error:
        row['refused'] = ' '.join(str(error).split()).replace('|', '/')
    else:
        row['difference of a probability'] = f'{result.largest_difference:.1g}'
        row['of its logarithm'] = f'{result.largest_log_difference:.1g}'
        row['same top-1'] = f'{result.top1_agreement:.0%}'
        row['MB'] = f'{out.stat().st_size / 1e6:.0f}'
    row['CPU seconds'] = f'{time.process_time() - begin:.0f}'
    return row


def markdown(rows: list[dict[str, Any]]) -> str:
    """Format the table as Markdown."""
    lines = [TITLES, ['---'] * len(TITLES), *(row.values() for row in rows)]
    return ''.join(f'| {" | ".join(cells)} |\n' for cells in lines)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('configs', nargs='+', metavar='CONFIG', help='a path, or PACKAGE::NAME')
    add(
        '--format',
        nargs='+',
        choices=tuple(FORMATS),
        default=['onnx'],
        help='formats of the files (default: onnx)',
    )
    text = 'file of the table (default: %(default)s)'
    add('--out', type=Path, default='work_dirs/benchmarks/export.md', help=text)
    args = parser.parse_args()
    # The configs' pipelines read folders of frames by default.
    os.environ.setdefault('SELFY_DECODER', 'Decord')
    logging.disable(logging.WARNING)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for path in args.configs:
        for format in args.format:
            with tempfile.TemporaryDirectory() as folder:
                rows.append(export_one(path, format, Path(folder)))
            print(' | '.join(rows[-1].values()), flush=True)
            with replacing(args.out) as partial:
                partial.write_text(markdown(rows), encoding='utf-8')
    print(f'\n{markdown(rows)}')


if __name__ == '__main__':
    main()
