# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The tables and pictures of docs/methods.md are those of the blocks."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from mmaction.registry import MODELS
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / 'docs' / 'methods.md').read_text()
COSTS = r'^\| ([^|]+) \| ((?:[\d.]+ \| ){3}[\d.]+) \|$'
ROWS = dict(re.findall(COSTS, TEXT, re.M))
BLOCKS = {
    'SELFY': dict(type='SELFYBlock'),
    'MSNet': dict(type='MotionSqueezeBlock'),
    'local self-attention': dict(type='LocalSelfAttentionBlock'),
    'non-local': dict(type='NonLocalBlock'),
    'multi-head self-attention': dict(type='MultiHeadSelfAttentionBlock'),
    'ATM, similarity': dict(type='ATMSimilarityBlock'),
    'ATM, difference': dict(type='ATMDifferenceBlock'),
    'MOSS, order 1': dict(type='MOSSBlock', orders=(1,)),
    'MOSS, orders 1 and 2': dict(type='MOSSBlock', orders=(1, 2)),
    'MOSS, orders 1 to 3': dict(type='MOSSBlock', orders=(1, 2, 3)),
    'motion module': dict(type='MotionModule'),
    'motion module, full': dict(type='MotionModule', integration='full'),
}
OWN_GRID = ('MotionSqueezeBlock', 'NonLocalBlock', 'MultiHeadSelfAttentionBlock')


def test_every_block_has_a_row():
    assert ROWS.keys() == BLOCKS.keys()


@pytest.mark.parametrize('name', BLOCKS)
def test_cost(name):
    found = []
    for channels, side in ((768, 14), (512, 28)):
        config = dict(BLOCKS[name], in_channels=channels)
        if config['type'] not in OWN_GRID:
            config['scale'] = 14 / side
        with torch.device('meta'):
            block = MODELS.build(config).eval()
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                block(torch.empty(8, channels, side, side))
        parameters = sum(p.numel() for p in block.parameters())
        found += [f'{parameters / 1e6:.2f}', f'{counter.get_total_flops() / 2e9:.2f}']
    assert found == ROWS[name].split(' | ')


def test_pictures():
    path = ROOT / 'tools' / 'method_pictures.py'
    spec = importlib.util.spec_from_file_location('method_pictures', path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    methods = tool.build_methods()
    pictures = re.findall(r'images/methods/([\w-]+)\.png', TEXT)
    assert sorted(pictures) == sorted(methods)
    # Positions per frame, of 21x21, on which the one in the middle depends.
    expected = {
        'self-similarity': [81] * 5,
        'selfy': [19 * 19] * 5,  # three more in each direction for 3x3 convolutions
        'msnet': [0, 0, 1, 225, 0],
        'local-self-attention': [81] * 5,
        'non-local': [441] * 5,
        'atm-difference': [1] * 5,
        'moss': [17 * 17] * 5,
        'motion-module': [0, 0, 81, 81, 81],
    }
    for name, method in methods.items():
        assert tool.find_dependence(method).sum((1, 2)).tolist() == expected[name], name
