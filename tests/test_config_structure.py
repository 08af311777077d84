# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""Structure of the configs: flat, one way to replace, no leftover variables."""

import ast
import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from config_files import CONFIGS, LEAVES, read
from mmaction.models import ResNet, ResNetTSM
from mmengine.config import Config
from mmengine.runner import Runner

REPOSITORY = Path(__file__).parents[1]
FILES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for pattern in ('configs/**/*.py', 'examples/*/configs/**/*.py')
    for path in REPOSITORY.glob(pattern)
)
# mmaction2's recipes in mixing/ define further variables.
OURS = [name for name in LEAVES if not name.startswith('mixing/')]
# Top-level variables that users read or set, besides the arguments of the runner.
VARIABLES = {'data_root', 'train_pipeline', 'val_pipeline', 'test_pipeline'}
VARIABLES |= {'class_file', 'input_size', 'num_frames'}  # own videos


def bases_of(path: Path) -> list[Path]:
    """Return the files that a config inherits from directly."""
    bases = Config._get_base_files(str(path))
    return [Path(Config._get_cfg_path(base, str(path))[0]).resolve() for base in bases]


def files_of(path: Path) -> set[Path]:
    return {path}.union(*(files_of(base) for base in bases_of(path)))


def depth_of(path: Path) -> int:
    if not path.is_relative_to(CONFIGS):  # inheritance within mmaction2 does not count
        return 1
    return 1 + max(map(depth_of, bases_of(path)), default=0)


def test_every_kind_of_config_is_tested():
    folders = {name.split('/')[0] for name in LEAVES}
    assert folders == {'ablations', 'methods', 'mixing', 'motion', 'own', 'selfy'}
    assert any(name.startswith('examples/') for name in FILES)


@pytest.mark.parametrize('name', LEAVES)
def test_at_most_3_levels_and_6_files(name):
    assert depth_of(CONFIGS / name) <= 3
    # Files of mmaction2 count, because users have to read them.
    assert len(files_of(CONFIGS / name)) <= 6


@pytest.mark.parametrize('name', [name for name in FILES if '/_base_/' not in name])
def test_leaf_holds_only_what_differs(name):
    text = (REPOSITORY / name).read_text()
    # Skip comments and lines with only brackets.
    lines = re.findall(r'^\s*[^#\s()\[\],].*', text, re.M)
    assert 1 < len(lines) <= 12
    assert 'ResNet' not in text  # classes belong in _base_/models


def test_no_two_leaves_are_the_same():
    found = {}
    for name in LEAVES:
        text = json.dumps(read(name).to_dict(), sort_keys=True)
        assert found.setdefault(text, name) == name


@pytest.mark.parametrize('name', OURS)
def test_no_helper_variables_in_the_dump(name):
    arguments = set(inspect.signature(Runner).parameters)
    assert set(read(name)) <= arguments | VARIABLES | {'custom_imports'}


# Syntax allowed in configs: no loops, no functions, no slices of inherited values.
SYNTAX = (
    *(ast.Module, ast.Assign, ast.Name, ast.Store, ast.Load, ast.Attribute),
    *(ast.Constant, ast.JoinedStr, ast.FormattedValue, ast.UnaryOp, ast.USub),
    *(ast.List, ast.Tuple, ast.Dict, ast.Call, ast.keyword, ast.Starred),
    *(
        ast.BinOp,
        ast.Add,
        ast.Mult,
        ast.FloorDiv,
        ast.If,
        ast.IfExp,
        ast.Compare,
        ast.Eq,
    ),
)


@pytest.mark.parametrize('name', FILES)
def test_one_way_to_replace(name):
    """Inherited values are replaced with ``_delete_=True``, never modified."""
    nodes = list(ast.walk(ast.parse((REPOSITORY / name).read_text())))
    assert {
        type(node).__name__ for node in nodes if not isinstance(node, SYNTAX)
    } == set()
    for node in nodes:
        if isinstance(node, ast.Attribute):
            assert isinstance(node.ctx, ast.Load), f'line {node.lineno} modifies a base'
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) in ('dict', 'int', '__import__')


def test_mixing_configs_have_the_default_hooks():
    runtime = read('_base_/default_runtime.py')
    mixing = read('_base_/mixing.py').to_dict()
    assert mixing == {key: runtime[key] for key in ('custom_imports', 'custom_hooks')}


BASELINES = [
    name
    for name in OURS
    if name.startswith(('selfy/ts', 'ablations/ts')) or re.match('motion/ts[mn]-', name)
]


@pytest.mark.parametrize('name', BASELINES)
def test_baselines_use_mmaction2_classes(name):
    backbone = read(name).model.backbone
    host = ResNetTSM if 'tsm-' in name else ResNet
    if 'base_channels' not in backbone:
        assert backbone.type == host.__name__
    else:
        # Use mmaction2's class here, too, as soon as it supports `base_channels`.
        assert 'base_channels' not in inspect.signature(host).parameters
        assert 'selfy' not in backbone


def offsets_within(reach: str) -> tuple[int, ...]:
    return tuple(range(-int(reach), int(reach) + 1))


# Parts of a name, and the values in `selfy` that they stand for.
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
def test_name_matches_ablation(name):
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
