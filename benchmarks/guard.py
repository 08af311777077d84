# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Train a tiny TSN with and without SELFY on opposite motions.

    python benchmarks/guard.py --seeds 0 1 2 3 4 5 6 7 8 9

A single frame does not show the direction of a motion, so TSN stays near chance (25 %),
and SELFY has to exceed it by far. tests/test_motion_guard.py runs seed 0 and compares
the gap with that of ten seeds. Each seed generates its own clips.
"""

import argparse
import json
import logging
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner

import selfy_mmaction  # noqa: F401  registers everything
from selfy_mmaction.atomic_files import replacing
from selfy_mmaction.motion_benchmark import make_motion

CONFIGS = Path(__file__).resolve().parents[1] / 'configs' / 'motion'
NETWORKS = {
    'TSN': 'tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py',
    'SELFY': 'selfy-tsn-r18-slim_1xb12-1x1x8-6e_motion-rgb.py',
}
PRESET = 'go'
_EPOCHS = 5  # of 40 iterations


def read_config(network: str, data: Path, work_dir: Path, seed: int) -> Config:
    """Read the config of a network, changed to a short training on four classes."""
    config = Config.fromfile(CONFIGS / NETWORKS[network])
    changes = {
        'model.cls_head.num_classes': 4,
        'train_cfg.max_epochs': _EPOCHS,
        'train_cfg.val_begin': _EPOCHS,
        'work_dir': str(work_dir),
        'randomness.seed': seed,
        'log_level': 'WARNING',
        'default_hooks.checkpoint': None,
    }
    if network == 'SELFY':
        # A single temporal offset sees these motions, in a quarter of the time.
        changes['model.backbone.selfy.block.offsets'] = (1,)
    for loader, split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        dataset = f'{loader}_dataloader.dataset'
        changes[f'{dataset}.ann_file'] = str(data / f'{split}.txt')
        changes[f'{dataset}.data_prefix.video'] = str(data / 'videos')
        changes[f'{dataset}.num_classes'] = 4
    config.merge_from_dict(changes)
    return config


def measure(network: str, data: Path, work_dir: Path, seed: int) -> float:
    """Train a network and return its top-1 accuracy in the last epoch, in percent."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        runner = Runner.from_cfg(read_config(network, data, work_dir, seed))
        runner.train()
        return 100 * runner.message_hub.get_scalar('val/acc/top1').current()
    finally:
        torch.set_num_threads(threads)


def measure_gap(folder: Path, seed: int) -> dict[str, float]:
    """Generate clips, train both networks and return accuracies and their gap."""
    data = folder / 'data'
    make_motion(data, preset=PRESET, seed=seed, workers=1)
    found = {name: measure(name, data, folder / name, seed) for name in NETWORKS}
    return {**found, 'gap': found['SELFY'] - found['TSN']}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    text = 'seeds of clips and training (default: 0)'
    add('--seeds', type=int, nargs='+', default=[0], help=text)
    text = 'folder of the report (default: %(default)s)'
    add('--out', type=Path, default=Path('work_dirs/benchmarks'), help=text)
    args = parser.parse_args()
    warnings.simplefilter('ignore')
    logging.disable(logging.INFO)
    rows = []
    print('| seed | TSN | SELFY | gap | seconds |\n| --- | --- | --- | --- | --- |')
    for seed in args.seeds:
        begin = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            row = measure_gap(Path(folder), seed)
        row = {'seed': seed, **row, 'seconds': time.monotonic() - begin}
        rows.append(row)
        cells = [f'{row[key]:.1f}' for key in ('TSN', 'SELFY', 'gap', 'seconds')]
        print(f'| {seed} | ' + ' | '.join(cells) + ' |', flush=True)
        args.out.mkdir(parents=True, exist_ok=True)
        with replacing(args.out / 'guard.json') as path:
            path.write_text(json.dumps(rows, indent=2) + '\n', encoding='utf-8')
    gaps = [row['gap'] for row in rows]
    if len(gaps) > 1:
        spread = statistics.stdev(gaps)
        print(f'gap: {statistics.mean(gaps):.1f} ± {spread:.1f}, least {min(gaps):.1f}')


if __name__ == '__main__':
    sys.exit(main())
