# Copyright (c) the selfy_mmaction authors. Licensed under Apache-2.0.
"""The configs of the paper, and the training they produce, match its recipes.

The expected values are the tables in ``paper_recipes.py``.
"""

import inspect
import json
import re
from collections import Counter
from functools import cache
from pathlib import Path

import mmaction
import pytest
import torch
import yaml
from config_files import CONFIGS, LEAVES, read
from mmaction.models.backbones.resnet_tsm import TemporalShift
from mmaction.registry import MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from paper_recipes import (
    ABLATION,
    ABLATIONS,
    HOOKS,
    IMPORTS,
    MIXING,
    MOTION,
    NETWORKS,
    OFFSETS,
    ONE_CYCLE,
    RECIPES,
    RESNET,
    SGD,
    STORIES,
    TRAINING,
    expected_config,
    expected_motion_config,
    expected_scenes_config,
    expected_stories_config,
)
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

ROOT = Path(__file__).parents[1]
HOST_CONFIGS = Path(mmaction.__file__).parent / '.mim' / 'configs'
LOG = yaml.safe_load((ROOT / 'tests/data/golden/official_training_log.yml').read_text())
ON_HOSTS = [name for name in LEAVES if name.startswith('mixing/')]
# Recipes of our own are tested in test_own_configs.py, those of other
# methods in test_method_configs.py.
OURS = [name for name in LEAVES if not name.startswith(('mixing/', 'methods/', 'own/'))]
# Config keys that the runner reads, except for logging and environment.
READ = set(inspect.signature(Runner).parameters)
READ -= {'work_dir', 'experiment_name', 'launcher', 'env_cfg', 'cfg'}
READ -= {'log_processor', 'log_level', 'visualizer'}
READ |= {'custom_imports', 'test_pipeline', 'sync_bn', 'model_wrapper_cfg'}


@cache
def metafile_rows() -> dict[str, list[tuple[str, int]]]:
    """Read the rows of the paper's tables per config from the metafiles."""
    rows = {}
    for path in CONFIGS.rglob('metafile.yml'):
        for model in yaml.safe_load(path.read_text())['Models']:
            table = model['Metadata'].get('Paper table', '').partition('_')[0]
            if table in ABLATIONS:
                config = Path(model['Config']).relative_to('configs').as_posix()
                row = model['Metadata']['Paper row']
                rows.setdefault(config, []).append((table, row))
    return rows


def name_of(path: str) -> str:
    return Path(path).stem


def split_name(name: str) -> tuple[str, str]:
    """Split a config name into network and recipe."""
    network, _, recipe = Path(name).stem.removesuffix('-rgb').partition('_')
    return network, recipe


STORIES_NAMES = {(network, '1xb12-1x1x8-2e_stories') for network in STORIES}
SCENES = ('tsn-r18-slim-scenes', '1xb96-1x1x1-21e_stories')


def motion_epochs(recipe: str) -> int:
    """Return the number of epochs in the name of a motion recipe."""
    return {'1xb12-1x1x8-6e_motion': 6, '1xb12-1x1x8-9e_motion': 9}[recipe]


def rows_of(name: str) -> list[dict]:
    """Return the expected configs of a config: one per row that names it."""
    network, recipe = split_name(name)
    if (network, recipe) == SCENES:
        return [expected_scenes_config()]
    if name.startswith('motion/stories/'):
        assert (network, recipe) in STORIES_NAMES, f'{name} has no row in STORIES'
        return [expected_stories_config(network)]
    if name.startswith('motion/'):
        assert network in MOTION, f'{name} has no row in MOTION'
        return [expected_motion_config(network, motion_epochs(recipe))]
    assert recipe in RECIPES, f'{name} has no row in RECIPES'
    rows = []
    for table, row in metafile_rows().get(name, []):
        other, block, *another = ABLATIONS[table][row]
        rows.append((another[0] if another else ABLATION, other, block))
    key = network, RECIPES[recipe]['frames']
    if key in NETWORKS:
        rows.append((recipe, network.removeprefix('selfy-'), NETWORKS[key]))
    assert rows, f'{name} has no row in NETWORKS and none in ABLATIONS'
    return [expected_config(*row) for row in rows]


def rates_of(name: str) -> dict:
    network, recipe = split_name(name)
    if (network, recipe) == SCENES:  # 21 epochs instead of 6
        return {e if e == 'last' else e * 3.5: rate for e, rate in ONE_CYCLE.items()}
    if name.startswith('motion/stories/'):
        return {e if e == 'last' else e / 3: rate for e, rate in ONE_CYCLE.items()}
    if name.startswith('motion/'):
        # The rates of MOTION are those of six epochs; the schedule lasts as long as
        # the training.
        longer = motion_epochs(recipe) / 6
        rates = MOTION[network]['rates'].items()
        return {e if e == 'last' else e * longer: rate for e, rate in rates}
    return RECIPES[recipe]['schedule']['rates']


def recipe_in(config: dict) -> dict:
    """Reduce a config to the keys that the tables specify."""
    config = {key: config[key] for key in config.keys() & READ}
    del config['param_scheduler']  # see test_learning_rates
    config['default_hooks'].pop('logger', None)
    # Values that configs may omit because they are defaults.
    config['optim_wrapper'].setdefault('type', 'OptimWrapper')
    for split in ('train', 'val', 'test'):
        loader = config[f'{split}_dataloader']
        loader.pop('num_workers', None)
        loader.pop('persistent_workers', None)
        for step in loader['dataset']['pipeline']:
            if step['type'] == 'SelectiveFlip':
                flip = inspect.signature(TRANSFORMS.get('SelectiveFlip'))
                step.setdefault('flip_ratio', flip.parameters['flip_ratio'].default)
    backbone = config['model']['backbone']
    if re.fullmatch('ResNet(TSM)?(SELFY)?', backbone['type']):  # of mmaction2 or ours
        backbone['shift'] = 'TSM' in backbone.pop('type')
    return config


def flatten(value, key: str = '') -> dict:
    """Flatten to dotted keys, dropping None and treating tuples as lists."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        out = {key: type(value)()} if not value else {}
        for name, item in items:
            out |= flatten(item, f'{key}.{name}' if key else str(name))
        return out
    return {} if value is None else {key: value}


def differences(found: dict, expected: dict) -> dict[str, tuple]:
    found, expected = flatten(found), flatten(expected)
    return {
        key: (found.get(key, 'absent'), expected.get(key, 'absent'))
        for key in sorted(found.keys() | expected.keys())
        if found.get(key, 'absent') != expected.get(key, 'absent')
    }


@pytest.mark.parametrize('name', OURS, ids=name_of)
def test_config_matches_its_rows(name):
    found = recipe_in(read(name).to_dict())
    for expected in rows_of(name):
        assert differences(found, expected) == {}, 'key: (found, expected)'


def test_every_row_has_a_config():
    stories = [name for name in OURS if name.startswith('motion/stories/')]
    assert {split_name(name) for name in stories} == {*STORIES_NAMES, SCENES}
    motion = [name for name in OURS if re.match('motion/[^/]*$', name)]
    assert {split_name(name)[0] for name in motion} == set(MOTION)
    paper = [split_name(name) for name in OURS if not name.startswith('motion/')]
    assert {recipe for _, recipe in paper} == RECIPES.keys()
    frames = {(network, RECIPES[recipe]['frames']) for network, recipe in paper}
    assert NETWORKS.keys() <= frames
    numbered = {row for rows in metafile_rows().values() for row in rows}
    rows = {(table, row) for table in ABLATIONS for row in range(len(ABLATIONS[table]))}
    assert numbered == rows


@pytest.mark.parametrize('name', ON_HOSTS, ids=name_of)
def test_mixing_config_is_a_host_recipe_with_a_block(name, tmp_path):
    leaf = read(name).to_dict()
    backbone = leaf['model']['backbone']
    leaf['model']['backbone'] = backbone.pop('backbone')
    paramwise = leaf['optim_wrapper'].get('paramwise_cfg', {})
    inserted = dict(backbone, inserted_blocks=paramwise.pop('inserted_blocks', None))
    for block in inserted['blocks']:
        block.setdefault('block', dict(type='SELFYBlock'))
    rows = [MIXING[start] for start in MIXING if Path(name).name.startswith(start)]
    assert len(rows) == 1, f'{name} has no row in MIXING'
    row = dict(rows[0])
    expected = dict(
        type='InsertBlocks',
        input_shape=row.pop('input_shape', None),
        inserted_blocks=row.pop('paramwise', None),
        blocks=[dict(row, block=dict(type='SELFYBlock'))],
    )
    assert differences(inserted, expected) == {}, 'key: (found, expected)'

    host_name = Path(name).name.removeprefix('selfy-')
    (path,) = HOST_CONFIGS.glob(f'recognition/*/{host_name}')
    child = tmp_path / 'plain.py'
    child.write_text(f"_base_ = 'mmaction::{path.relative_to(HOST_CONFIGS)}'\n")
    plain = Config.fromfile(child).to_dict()
    expected = dict(plain, custom_imports=IMPORTS, custom_hooks=HOOKS)
    assert differences(leaf, expected) == {}, 'key: (found, expected)'


# === Training built from the configs ================================================


ITERATIONS = 300  # per epoch


@cache
def learning_rates(schedule: str, work_dir: Path) -> list[float]:
    """Return the rate of each iteration, using schedulers built by the runner."""
    config = json.loads(schedule)
    loader = dict(
        batch_size=1,
        dataset=range(ITERATIONS),
        sampler=dict(type='DefaultSampler'),
        num_workers=0,
    )
    optim_wrapper = dict(type='OptimWrapper', optimizer=config['optimizer'])
    runner = Runner(
        model=nn.Linear(1, 1),
        work_dir=str(work_dir),
        train_dataloader=loader,
        train_cfg=config['train_cfg'],
        optim_wrapper=optim_wrapper,
        param_scheduler=config['param_scheduler'],
        default_scope='mmaction',
        log_level='ERROR',
    )
    assert isinstance(runner.train_loop, EpochBasedTrainLoop)
    runner.optim_wrapper = runner.build_optim_wrapper(optim_wrapper)
    schedulers = runner.build_param_scheduler(config['param_scheduler'])
    (group,) = runner.optim_wrapper.param_groups
    constant = {
        key: value
        for key, value in group.items()
        if key not in ('params', 'lr', 'initial_lr')
    }
    rates = []
    for iteration in range(runner.max_epochs * ITERATIONS):
        rates.append(group['lr'])
        # Like mmengine's ParamSchedulerHook.
        for scheduler in schedulers:
            if not scheduler.by_epoch or (iteration + 1) % ITERATIONS == 0:
                scheduler.step()
    assert {key: group[key] for key in constant} == constant
    return rates


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('work_dir')


@pytest.mark.parametrize('name', OURS, ids=name_of)
def test_learning_rates(name, work_dir):
    config = read(name).to_dict()
    schedule = dict(
        train_cfg=config['train_cfg'],
        param_scheduler=config['param_scheduler'],
        optimizer=config['optim_wrapper']['optimizer'],
    )
    rates = learning_rates(json.dumps(schedule), work_dir)
    for epoch, expected in rates_of(name).items():
        iteration = -1 if epoch == 'last' else round(epoch * ITERATIONS)
        # The tolerance allows for the warm-up ending one iteration early.
        tolerance = dict(rel=0.02, abs=1e-6)
        assert rates[iteration] == pytest.approx(expected, **tolerance), epoch


def one_config_per_recipe() -> list[str]:
    """Choose one config per row of RECIPES, preferably with a SELFY block."""
    chosen = {}
    for name in OURS:
        network, recipe = split_name(name)
        if name.startswith('selfy/') and (
            recipe not in chosen or network.startswith('selfy-')
        ):
            chosen[recipe] = name
    return sorted(chosen.values())


one_per_recipe = pytest.mark.parametrize('name', one_config_per_recipe(), ids=name_of)


@cache
def build(name: str) -> nn.Module:
    """Build the network on the meta device, which allocates no memory."""
    with torch.device('meta'):
        return MODELS.build(read(name).model)


def build_optimizer(name: str) -> tuple[OptimWrapper, dict[nn.Parameter, dict]]:
    """Build the optimizer and map each parameter to its group."""
    model, config = build(name), read(name).optim_wrapper
    wrapper = build_optim_wrapper(model, config)
    groups = wrapper.optimizer.param_groups
    group_of = {parameter: group for group in groups for parameter in group['params']}
    assert sum(len(group['params']) for group in groups) == len(group_of)
    assert group_of.keys() == set(model.parameters())
    assert wrapper._accumulative_counts == 1  # official: iter_size
    return wrapper, group_of


@one_per_recipe
def test_optimizer(name):
    wrapper, group_of = build_optimizer(name)
    assert isinstance(wrapper.optimizer, torch.optim.SGD)
    assert wrapper.clip_grad_kwargs == dict(max_norm=20, norm_type=2)
    tensors, numel = Counter(), Counter()
    for path, module in build(name).named_modules():
        for kind, parameter in module.named_parameters(recurse=False):
            # official: multipliers of learning rate and weight decay
            multipliers = (2, 0) if kind == 'bias' else (1, 1)
            if isinstance(module, _BatchNorm):
                multipliers = (1, 0)
            group = group_of[parameter]
            assert group['lr'] == 0.01 * multipliers[0], f'{path}.{kind}'
            assert group['weight_decay'] == 5e-4 * multipliers[1], f'{path}.{kind}'
            momentum = (group['momentum'], group['nesterov'], group['dampening'])
            assert momentum == (0.9, True, 0)
            tensors[multipliers] += 1
            numel[multipliers] += parameter.numel()
    network, recipe = split_name(name)
    if 'official_form' in RECIPES[recipe]:
        assert network == 'selfy-tsm-r50'
        logged = LOG['parameter_groups']
        keys = [(group['lr_mult'], group['decay_mult']) for group in logged]
        assert tensors == dict(zip(keys, (g['tensors'] for g in logged), strict=True))
        assert numel == dict(zip(keys, (g['numel'] for g in logged), strict=True))


@pytest.mark.parametrize(
    'name', [name for name in OURS if name.startswith('motion/')], ids=name_of
)
def test_optimizer_of_the_motion_benchmark(name):
    wrapper, group_of = build_optimizer(name)
    assert isinstance(wrapper.optimizer, torch.optim.AdamW)
    assert wrapper.clip_grad_kwargs == dict(max_norm=5)
    is_story = name.startswith('motion/stories/')
    lr = RESNET['lr'] if is_story else MOTION[split_name(name)[0]]['lr']
    for group in group_of.values():
        assert (group['lr'], group['weight_decay']) == (lr, 0.02)


@one_per_recipe
def test_network_in_training(name):
    model = build(name).train()
    modules = list(model.modules())
    # official: "No BN layer Freezing"
    assert all(module.training for module in modules)
    assert all(parameter.requires_grad for parameter in model.parameters())
    (dropout,) = (module for module in modules if isinstance(module, nn.Dropout))
    assert dropout.p == 0.5
    network, recipe = split_name(name)
    frames = RECIPES[recipe]['frames']
    # Sup. Table 1: a shift per residual block; of an eighth of the channels: host
    shifts = [module for module in modules if isinstance(module, TemporalShift)]
    assert len(shifts) == (16 if network.endswith('tsm-r50') else 0)
    assert all((x.num_segments, x.shift_div) == (frames, 8) for x in shifts)
    if network.startswith('selfy-'):
        (block,) = model.backbone.inserted_blocks.values()
        assert tuple(block.transformation.offsets) == OFFSETS[frames]
        assert tuple(block.transformation.window) == (9, 9)


def test_tables_agree_with_the_official_log():
    recipe = RECIPES['1x1x8_sthv1']
    head = expected_config('1x1x8_sthv1', 'tsm-r50', None)['model']['cls_head']
    log = dict(LOG['hyperparameters'])
    steps = log.pop('lr_steps')
    assert log == dict(
        num_segments=recipe['frames'],
        dropout=head['dropout_ratio'],
        epochs=recipe['schedule']['epochs'],
        batch_size=8 * TRAINING['batch_size'],
        iter_size=1,
        lr=SGD['optimizer']['lr'],
        momentum=SGD['optimizer']['momentum'],
        nesterov=SGD['optimizer']['nesterov'],
        weight_decay=SGD['optimizer']['weight_decay'],
        clip_gradient=SGD['clip_grad']['max_norm'],
    )
    for epoch, rate in recipe['schedule']['rates'].items():
        passed = [epoch == 'last' or epoch >= step for step in steps]
        assert rate == pytest.approx(log['lr'] * 0.1 ** sum(passed)), epoch
