# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""How configs are written: flat, with one idiom, and with nothing left over."""

import ast
import inspect
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from mmaction.models import ResNet, ResNetTSM
from mmengine.config import Config
from mmengine.runner import Runner

REPOSITORY = Path(__file__).parents[1]
ROOT = REPOSITORY / 'configs'
FILES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for pattern in ('configs/**/*.py', 'examples/*/configs/**/*.py')
    for path in REPOSITORY.glob(pattern)
)
LEAVES = [
    name.removeprefix('configs/')
    for name in FILES
    if name.startswith('configs/') and '/_base_/' not in name
]
# mmaction2's own recipes have variables of their own: tests/test_mixing_configs.py.
OURS = [name for name in LEAVES if not name.startswith('mixing/')]
# What users read or set at the top of a config, beside what a runner takes.
VARIABLES = {'data_root', 'train_pipeline', 'val_pipeline', 'test_pipeline'}


@cache
def read(name: str) -> Config:
    """A config, not to be changed."""
    return Config.fromfile(ROOT / name)


def bases_of(path: Path) -> list[Path]:
    """The files that a config inherits from directly."""
    bases = Config._get_base_files(str(path))
    return [Path(Config._get_cfg_path(base, str(path))[0]).resolve() for base in bases]


def files_of(path: Path) -> set[Path]:
    return {path}.union(*(files_of(base) for base in bases_of(path)))


def depth_of(path: Path) -> int:
    if not path.is_relative_to(ROOT):  # what mmaction2 inherits there is its own choice
        return 1
    return 1 + max(map(depth_of, bases_of(path)), default=0)


def test_every_kind_of_config_is_tested():
    folders = {name.split('/')[0] for name in LEAVES}
    assert folders == {'ablations', 'mixing', 'motion', 'selfy'}
    assert any(name.startswith('examples/') for name in FILES)


@pytest.mark.parametrize('name', LEAVES)
def test_at_most_3_levels_and_6_files(name):
    assert depth_of(ROOT / name) <= 3
    # Those of mmaction2 count, too: all of them are read.
    assert len(files_of(ROOT / name)) <= 6


@pytest.mark.parametrize('name', [name for name in FILES if '/_base_/' not in name])
def test_leaf_holds_only_what_differs(name):
    text = (REPOSITORY / name).read_text()
    # Without comments and lines of brackets only.
    lines = re.findall(r'^\s*[^#\s()\[\],].*', text, re.M)
    assert 1 < len(lines) <= 12
    assert 'ResNet' not in text  # the class is in _base_/models


def test_no_two_leaves_are_the_same():
    found = {}
    for name in LEAVES:
        text = json.dumps(read(name).to_dict(), sort_keys=True)
        assert found.setdefault(text, name) == name


@pytest.mark.parametrize('name', OURS)
def test_no_helper_variables_in_the_dump(name):
    arguments = set(inspect.signature(Runner).parameters)
    assert set(read(name)) <= arguments | VARIABLES | {'custom_imports'}


# All that a config is made of: no loops, no functions, no slices of what was inherited.
SYNTAX = (
    *(ast.Module, ast.Assign, ast.Name, ast.Store, ast.Load, ast.Attribute),
    *(ast.Constant, ast.JoinedStr, ast.FormattedValue, ast.UnaryOp, ast.USub),
    *(ast.List, ast.Tuple, ast.Dict, ast.Call, ast.keyword, ast.Starred),
    *(ast.BinOp, ast.Add, ast.If, ast.IfExp, ast.Compare, ast.Eq),
)


@pytest.mark.parametrize('name', FILES)
def test_one_way_to_replace(name):
    """``_delete_=True``: nothing inherited is patched or changed in place."""
    nodes = list(ast.walk(ast.parse((REPOSITORY / name).read_text())))
    assert {
        type(node).__name__ for node in nodes if not isinstance(node, SYNTAX)
    } == set()
    for node in nodes:
        if isinstance(node, ast.Attribute):
            assert isinstance(node.ctx, ast.Load), f'line {node.lineno} changes a base'
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) in ('dict', '__import__')


def test_hooks_of_mixing_are_those_of_all_others():
    runtime = read('_base_/default_runtime.py')
    mixing = read('_base_/mixing.py').to_dict()
    assert mixing == {key: runtime[key] for key in ('custom_imports', 'custom_hooks')}


BASELINES = [
    name
    for name in OURS
    if name.startswith(('selfy/ts', 'ablations/ts')) or re.match('motion/ts[mn]-', name)
]


@pytest.mark.parametrize('name', BASELINES)
def test_baselines_are_mmaction2s_own(name):
    backbone = read(name).model.backbone
    host = ResNetTSM if 'tsm-' in name else ResNet
    if 'base_channels' not in backbone:
        assert backbone.type == host.__name__
    else:
        # The day mmaction2 has it, the baselines of the motion benchmark are its, too.
        assert 'base_channels' not in inspect.signature(host).parameters
        assert 'selfy' not in backbone


def offsets_within(reach: str) -> tuple[int, ...]:
    return tuple(range(-int(reach), int(reach) + 1))


# What a name says, and where that stands in `selfy`.
PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    r'-offset-(\d)': lambda offset: {'block.offsets': (int(offset),)},
    r'-offsets-within-(\d)': lambda reach: {'block.offsets': offsets_within(reach)},
    r'-window-(\d+)x(\d+)': lambda u, v: {'block.window': (int(u), int(v))},
    r'-after-((?:res\d|pool1)(?:-res\d)*)': lambda stages: {'after': stages.split('-')},
    r'-(\d+)-channels': lambda width: {'block.reduced_channels': int(width)},
    r'-kernel-3x3x3': lambda: {'block.extraction.temporal_kernel': 3},
    r'-kernel-softargmax': lambda: {
        'block.extraction.type': 'KernelSoftArgmaxExtraction'
    },
    r'-softargmax-fc': lambda: {
        'block.extraction.type': 'SoftArgmaxExtraction',
        'block.integration.type': 'FCIntegration',
    },
    r'-mlp-fc': lambda: {
        'block.extraction.type': 'MLPExtraction',
        'block.integration.type': 'FCIntegration',
    },
    r'-conv-fc': lambda: {'block.integration.type': 'FCIntegration'},
    r'-conv-mlp': lambda: {'block.integration.type': 'MLPIntegration'},
    r'-embedded-gaussian': lambda: {
        'block.transformation.type': 'EmbeddedGaussianTransformation'
    },
    r'-cosine': dict,
    r'-without-residual': lambda: {'block.fusion.type': 'ReplacementFusion'},
}


@pytest.mark.parametrize(
    'name', [name for name in LEAVES if re.match('ablations/.*-ts[mn]-r', name)]
)
def test_name_says_what_an_ablation_changes(name):
    rest = re.sub(r'.*-ts[mn]-r\d+', '', name).split('_8xb8')[0]
    selfy = read(name).model.backbone.get('selfy')
    for pattern, expected in PARTS.items():
        match = re.search(pattern + r'(?=-|$)', rest)
        if match:
            rest = rest.replace(match[0], '')
            for path, value in expected(*match.groups()).items():
                found = selfy
                for key in path.split('.'):
                    found = found[key]
                found = [found] if path == 'after' and isinstance(found, str) else found
                assert found == value
    assert rest == ''
